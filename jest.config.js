const tier = (name) => ({
  displayName: name,
  // Nothing else: local clusters keep files in this folder that look like Jest's own snapshots.
  roots: ["<rootDir>/test"],
  testMatch: [`<rootDir>/test/${name}/**/*.test.ts`],
  extensionsToTreatAsEsm: [".ts"],
  transform: { "\\.ts$": "<rootDir>/test/support/strip-types.cjs" },
});

export default {
  // Generous: it is there for a test that hangs, and a machine under load must not look like one.
  testTimeout: 180_000,
  projects: ["unit", "cluster", "traffic", "engine"].map(tier),
};
