export * from "./duration.ts";
export * from "./labels.ts";
export * from "./link.ts";
export * from "./names.ts";
export * from "./objects.ts";
export * from "./timestamp.ts";
