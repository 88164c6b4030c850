// Tests run the sources exactly as Node does: types stripped, nothing else changed.
const { stripTypeScriptTypes } = require("node:module");

module.exports = { process: (source) => ({ code: stripTypeScriptTypes(source) }) };
