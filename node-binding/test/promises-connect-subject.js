'use strict';
// What `connect` is taken from: ours, or libsql's promises when KITHDB_LIBSQL_SUBJECT names the package's directory.
const path = require('node:path');

const folder = process.env.KITHDB_LIBSQL_SUBJECT;
module.exports = { IS_ORIGINAL: Boolean(folder), ...require(folder ? path.join(folder, 'promise.js') : '../lib/promises') };
