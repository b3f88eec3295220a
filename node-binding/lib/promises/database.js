'use strict';
// The class `Database`, as promises.

const { ask, askEach } = require('./ask');
const Statement = require('./statement');
const migrate = require('./migrate');

/** Takes a text and its parameters, or what the sql-template-strings package makes of both. */
function call(sql, parameters) {
	return typeof sql === 'string' ? [sql, ...parameters] : [sql.sql, ...(sql.values ?? [])];
}

class Database {
	constructor(config) {
		this.config = config;
		this.db = null;
	}

	getDatabaseInstance() {
		return this.db;
	}

	on(event, listener) {
		this.db.on(event, listener);
	}

	async open() {
		const { filename, mode, driver = require('../sqlite3').Database } = this.config;
		if (filename == null) throw new Error('sqlite: filename cannot be null / undefined');
		await new Promise((resolve, reject) => {
			const done = (error) => (error ? reject(error) : resolve());
			this.db = mode ? new driver(filename, mode, done) : new driver(filename, done);
		});
	}

	async close() {
		await ask(this.db, 'close', []);
	}

	configure(option, ...values) {
		this.db.configure(option, ...values);
	}

	async run(sql, ...parameters) {
		const read = (stmt) => ({ stmt: new Statement(stmt), lastID: stmt.lastID, changes: stmt.changes });
		return ask(this.db, 'run', call(sql, parameters), read);
	}

	async get(sql, ...parameters) {
		return ask(this.db, 'get', call(sql, parameters));
	}

	async all(sql, ...parameters) {
		return ask(this.db, 'all', call(sql, parameters));
	}

	async each(sql, ...given) {
		const callback = given.pop();
		return askEach('Database#each', this.db, [...call(sql, given), callback]);
	}

	async exec(sql) {
		await ask(this.db, 'exec', call(sql, []));
	}

	async prepare(sql, ...parameters) {
		let prepared;
		await new Promise((resolve, reject) => {
			prepared = this.db.prepare(...call(sql, parameters), (error) => (error ? reject(error) : resolve()));
		});
		return new Statement(prepared);
	}

	async loadExtension(path) {
		await ask(this.db, 'loadExtension', [path]);
	}

	async migrate(options) {
		await migrate(this, options);
	}

	serialize() {
		throw new Error('sqlite: Currently not implemented. Use getDatabaseInstance().serialize() instead.');
	}

	parallelize() {
		throw new Error('sqlite: Currently not implemented. Use getDatabaseInstance().parallelize() instead.');
	}
}

module.exports = Database;
