'use strict';
// database.createTagStore(): statements that are kept by the text of a template literal, the latest used ones.

const { load } = require('../addon');
const { innerOf } = require('../inner');
const { illegalConstructor, invalidState, invalidType, invalidValue, outOfRange } = require('./errors');
const { isFinalized, parameterCountOf, prepare, show } = require('./statement');

const addon = load();
// Only `createTagStore` below makes stores; it says so with this.
const TOKEN = {};
const CAPACITY = 1000;
const NOTHING_NAMED = {};

class SQLTagStore {
	#database;
	#statements = new Map();
	#capacity;

	constructor(token, database, capacity) {
		if (token !== TOKEN) throw illegalConstructor();
		this.#database = database;
		this.#capacity = capacity;
		const getters = { capacity: () => capacity, db: () => database, size: () => this.#statements.size };
		for (const key of Object.keys(getters)) Object.defineProperty(this, key, { get: getters[key], enumerable: true });
	}

	get(strings, ...values) {
		return this.#statement(strings, values).get(NOTHING_NAMED, ...values);
	}

	all(strings, ...values) {
		return this.#statement(strings, values).all(NOTHING_NAMED, ...values);
	}

	iterate(strings, ...values) {
		return this.#statement(strings, values).iterate(NOTHING_NAMED, ...values);
	}

	run(strings, ...values) {
		return this.#statement(strings, values).run(NOTHING_NAMED, ...values);
	}

	clear() {
		this.#statements.clear();
	}

	#statement(strings, values) {
		const { connection, settings } = innerOf(this.#database);
		if (connection === null) throw invalidState('database is not open');
		if (!Array.isArray(strings)) throw invalidType('First argument must be an array of strings (template literal).');
		let sql = '';
		for (let at = 0; at < strings.length; at += 1) {
			if (typeof strings[at] !== 'string') throw invalidType('Template literal parts must be strings.');
			sql += strings[at];
			if (at < values.length) sql += '?';
		}
		let kept = this.#statements.get(sql);
		if (kept === undefined || isFinalized(kept.statement)) {
			kept = { statement: prepare(connection, sql, settings), parameterCount: parameterCountOf() };
		}
		if (kept.parameterCount !== values.length) {
			throw invalidValue('SQLite parameters must be bound using template literal placeholders.');
		}
		// Put in anew, it is the latest.
		this.#statements.delete(sql);
		if (this.#statements.size >= this.#capacity) this.#statements.delete(this.#statements.keys().next().value);
		this.#statements.set(sql, kept);
		return kept.statement;
	}
}
show(SQLTagStore);

module.exports = function createTagStore(maxSize = CAPACITY) {
	const { connection } = innerOf(this);
	if (connection === null) throw invalidState('database is not open');
	addon.nodeCheck(connection.handle);
	const wrong = 'The "maxSize" argument must be a positive integer.';
	if (typeof maxSize !== 'number') throw invalidType(wrong);
	if (!Number.isInteger(maxSize) || maxSize < 1) throw outOfRange(wrong);
	return new SQLTagStore(TOKEN, this, maxSize);
};
