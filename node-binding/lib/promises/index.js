'use strict';
// kithdb/promises: the shape of the `sqlite` package, over the callback face.

const Database = require('./database');
const Statement = require('./statement');

/** Opens a database: its file's name, the mode and, if it is not to be ours, the class that opens it. */
async function open(config) {
	const database = new Database(config);
	await database.open();
	return database;
}

module.exports = { open, Database, Statement };
