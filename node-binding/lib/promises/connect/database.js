'use strict';
// A database whose methods return promises, in the shape of libsql's. SQL runs on a thread of the database's own.

const { OPEN } = require('../../sqlite3/constants');
const batch = require('./batch');
const { Statement, checkOpen } = require('./statement');
const Thread = require('./thread');

const TIMEOUT_MAX_MS = 0x7fffffff;

class Database {
	#thread;
	#name;
	#isSafe = false;

	/** Opens a database: its file's name, or `:memory:`, and how long to wait for a lock. */
	static async open(name, options = {}) {
		if (typeof name !== 'string') throw new TypeError('Expected first argument to be a string');
		const timeout = readTimeout(options ?? {});
		const database = new Database();
		const thread = new Thread();
		database.#thread = thread;
		database.#name = name;
		try {
			await thread.ask('open', name, OPEN.OPEN_READWRITE | OPEN.OPEN_CREATE);
			await thread.ask('busyTimeout', timeout);
			await thread.ask('exec', 'PRAGMA foreign_keys = ON');
		} catch (error) {
			thread.end();
			throw error;
		}
		thread.isOpen = true;
		return database;
	}

	get name() {
		return this.#name;
	}

	get open() {
		return this.#thread.isOpen;
	}

	get memory() {
		return this.#name === '' || this.#name === ':memory:';
	}

	/** Whether a transaction was open after what has ended last. */
	get inTransaction() {
		return this.#thread.inTransaction;
	}

	async prepare(sql) {
		checkOpen(this.#thread);
		if (typeof sql !== 'string') throw new TypeError('Expected first argument to be a string');
		return Statement.prepare(this.#thread, sql, this.#isSafe);
	}

	/** Runs all statements of a text. */
	async exec(sql) {
		checkOpen(this.#thread);
		if (typeof sql !== 'string') throw new TypeError('Expected first argument to be a string');
		await this.#thread.ask('exec', sql);
	}

	async run(sql, ...given) {
		return (await this.prepare(sql)).run(...given);
	}

	async get(sql, ...given) {
		return (await this.prepare(sql)).get(...given);
	}

	async all(sql, ...given) {
		return (await this.prepare(sql)).all(...given);
	}

	async iterate(sql, ...given) {
		return (await this.prepare(sql)).iterate(...given);
	}

	/** Runs a pragma; resolves to its rows, or with `simple` to the first value. */
	async pragma(source, options) {
		if (typeof source !== 'string') throw new TypeError('Expected first argument to be a string');
		if (typeof (options ?? {}) !== 'object') throw new TypeError('Expected second argument to be an options object');
		const statement = await this.prepare(`PRAGMA ${source}`);
		return options?.simple ? statement.pluck().get() : statement.all();
	}

	/** Returns a function that runs the given one within a transaction, which is undone if that rejects. */
	transaction(fn) {
		if (typeof fn !== 'function') throw new TypeError('Expected first argument to be a function');
		const database = this;
		const within = (mode) => async function (...given) {
			await database.exec(`BEGIN ${mode}`);
			let result;
			try {
				result = await fn.apply(this, given);
				await database.exec('COMMIT');
			} catch (error) {
				// It may be gone already, which the error tells of.
				if (database.inTransaction) await database.exec('ROLLBACK');
				throw error;
			}
			return result;
		};
		const modes = { default: within(''), deferred: within('DEFERRED'), immediate: within('IMMEDIATE'), exclusive: within('EXCLUSIVE') };
		const properties = { database: { value: this, enumerable: true } };
		for (const [name, value] of Object.entries(modes)) properties[name] = { value };
		for (const mode of Object.values(modes)) Object.defineProperties(mode, properties);
		return modes.default;
	}

	/** Runs several statements, each a text or `{ sql, args }`, within a transaction if a mode is given; resolves to what came of each. */
	async batch(statements, options) {
		checkOpen(this.#thread);
		return batch(this, statements, options);
	}

	async loadExtension(path) {
		checkOpen(this.#thread);
		if (typeof path !== 'string') throw new TypeError('Expected first argument to be a string');
		await this.#thread.ask('loadExtension', path);
	}

	/** Ends what is being done. */
	interrupt() {
		if (this.#thread.isOpen) this.#thread.interrupt();
	}

	/** Has statements that are prepared from now on read integers as bigints, or with `false` as numbers. */
	defaultSafeIntegers(isOn = true) {
		this.#isSafe = Boolean(isOn);
		return this;
	}

	/** Closes the database after all that was asked before; nothing more can be asked at once. */
	async close() {
		if (this.#thread.isOpen) await this.#thread.close();
	}
}

function readTimeout(options) {
	if (typeof options !== 'object') throw new TypeError('Expected second argument to be an options object');
	for (const name of Object.keys(options)) {
		// Whoever wants a file encrypted, or synced with a server of libsql's, is not to think that it is.
		if (name !== 'timeout') throw new TypeError(`connect has no option "${name}"; it has timeout`);
	}
	const { timeout = 0 } = options;
	if (!Number.isInteger(timeout) || timeout < 0 || timeout > TIMEOUT_MAX_MS) {
		throw new TypeError('Expected the "timeout" option to be a number of milliseconds');
	}
	return timeout;
}

module.exports = Database;
