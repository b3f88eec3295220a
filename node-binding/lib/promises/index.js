'use strict';
// kithdb/promises: the shape of the `sqlite` package, over the callback face; `connect` has that of libsql's promises.

const Database = require('./database');
const SqliteError = require('../sqlite-error');
const ConnectedDatabase = require('./connect/database');
const Statement = require('./statement');

/** Opens a database: its file's name, the mode and, if it is not to be ours, the class that opens it. */
async function open(config) {
	const database = new Database(config);
	await database.open();
	return database;
}

/** Opens a database in the shape of libsql's: its file's name, and options. */
async function connect(name, options) {
	return ConnectedDatabase.open(name, options);
}

module.exports = { open, connect, Database, Statement, SqliteError };
