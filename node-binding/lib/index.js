'use strict';
// The package's main entry: the synchronous face.
module.exports = require('./database');
module.exports.SqliteError = require('./sqlite-error');
