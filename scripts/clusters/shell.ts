import { $ } from "zx";

/** Root's commands are not on every PATH that root has: not in cron, nor after `su`. */
export const ADMIN_DIRECTORIES = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/** Runs commands of this machine without showing them; `nothrow` where failing is an answer. */
export const shell = $({
  quiet: true,
  // A bash whose input is a socket, as Node's pipes are, takes itself for a remote login and reads ~/.bashrc first.
  stdio: ["ignore", "pipe", "pipe"],
  env: {
    ...process.env,
    PATH: [process.env.PATH ?? "/usr/local/bin:/usr/bin:/bin", ...ADMIN_DIRECTORIES].join(":"),
  },
});

/** The environment of daemons: what they do must not depend on who started them. */
export const BARE_ENVIRONMENT = {
  PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
  HOME: "/root",
  LANG: "C.UTF-8",
};
