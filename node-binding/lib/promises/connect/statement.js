'use strict';
// A statement whose methods return promises, in the shape of libsql's.

const { USES } = require('../../sqlite3/schedule');

// What is added to how a statement is used; see `src/callback/mod.rs`.
const RAW = 0x10;
const SAFE = 0x20;
const PLAIN = 0x40;

const NONE = { places: undefined, values: [] };

class Statement {
	#thread;
	#sql;
	/** What the thread knows it by. */
	#id;
	#columns;
	#parameters;
	#isRaw = false;
	#isPlucked = false;
	#isSafe;

	/** Prepares a statement. */
	static async prepare(thread, sql, isSafe) {
		const statement = new Statement();
		statement.#thread = thread;
		statement.#sql = sql;
		statement.#isSafe = isSafe;
		const { id, columns, parameters } = await thread.prepare(sql, statement);
		statement.#id = id;
		statement.#columns = columns;
		statement.#parameters = parameters;
		return statement;
	}

	/** Whether the statement returns rows. */
	get reader() {
		return this.#columns.length > 0;
	}

	/** Has rows be arrays, or with `false` objects. */
	raw(isOn = true) {
		this.#isRaw = Boolean(isOn);
		return this;
	}

	/** Has the first column stand for the row, or with `false` not. */
	pluck(isOn = true) {
		this.#isPlucked = Boolean(isOn);
		return this;
	}

	/** Has integers be read as bigints, or with `false` as numbers. */
	safeIntegers(isOn = true) {
		this.#isSafe = Boolean(isOn);
		return this;
	}

	/** Describes the columns. */
	columns() {
		return this.#columns.map((column) => ({ ...column }));
	}

	/** Runs the statement; resolves to the number of rows that it changed, and the last one's key. */
	async run(...given) {
		return this.#use(USES.run, given);
	}

	/** Resolves to the first row, or undefined. */
	async get(...given) {
		const row = await this.#use(USES.get, given);
		return row !== undefined && this.#isPlucked ? row[0] : row;
	}

	/** Resolves to all rows. */
	async all(...given) {
		const isPlucked = this.#isPlucked;
		const rows = await this.#use(USES.all, given);
		return isPlucked ? rows.map(([value]) => value) : rows;
	}

	/**
	 * Resolves to an asynchronous iterator of the rows.
	 *
	 * They are read some at a time, by a statement of its own: this one can be used meanwhile, and so can the database.
	 */
	async iterate(...given) {
		checkOpen(this.#thread);
		const { places, values } = readParameters(given, this.#parameters);
		// They are bound later, when the program may have changed its bytes.
		const parameters = { places, values: values.map((value) => (ArrayBuffer.isView(value) ? Buffer.from(value) : value)) };
		const how = this.#form(USES.next);
		const isPlucked = this.#isPlucked;
		const thread = this.#thread;
		const owner = {};
		const { id } = await thread.prepare(this.#sql, owner);
		let isDone = false;
		const end = () => {
			isDone = true;
			thread.forget(id, owner);
		};
		if (parameters.values.length > 0) {
			try {
				await thread.use(USES.bind | PLAIN, id, parameters);
			} catch (error) {
				end();
				throw error;
			}
		}
		return iterator(async () => {
			if (isDone) return [];
			try {
				const rows = await thread.use(how, id, NONE);
				if (rows.length === 0) end();
				return isPlucked ? rows.map(([value]) => value) : rows;
			} catch (error) {
				end();
				throw error;
			}
		}, end);
	}

	/** Ends what the connection is doing. */
	interrupt() {
		this.#thread.interrupt();
		return this;
	}

	async #use(how, given) {
		checkOpen(this.#thread);
		const parameters = readParameters(given, this.#parameters);
		// Without values the thread would keep those of the run before.
		const values = parameters.values.length === 0 && this.#parameters > 0 ? { places: undefined, values: [null] } : parameters;
		const used = this.#thread.use(this.#form(how), this.#id, values);
		this.#thread.reset(this.#id);
		return used;
	}

	#form(how) {
		return how | PLAIN | (this.#isRaw || this.#isPlucked ? RAW : 0) | (this.#isSafe ? SAFE : 0);
	}
}

/** Makes an iterator of what brings some rows at a time; none at the end. */
function iterator(more, end) {
	let rows = [];
	let place = 0;
	// One `next` after the other, also where somebody does not wait for them.
	let turn = Promise.resolve();
	const next = async () => {
		if (place === rows.length) {
			rows = await more();
			place = 0;
		}
		return place < rows.length ? { value: rows[place++], done: false } : { value: undefined, done: true };
	};
	return {
		next() {
			const result = turn.then(next);
			turn = result.catch(() => {});
			return result;
		},
		async return(value) {
			rows = [];
			place = 0;
			end();
			return { value, done: true };
		},
		[Symbol.asyncIterator]() {
			return this;
		},
	};
}

/** Reads parameters: values one by one or in an array, or an object of names; what is more than the statement has is left out. */
function readParameters(given, count) {
	const [first] = given;
	const isObject = given.length === 1 && typeof first === 'object' && first !== null;
	if (isObject && !Array.isArray(first) && !ArrayBuffer.isView(first)) {
		if (first instanceof ArrayBuffer) return { places: undefined, values: [checkValue(first)] };
		const names = Object.keys(first);
		return { places: names, values: names.map((name) => checkValue(first[name])) };
	}
	const values = given.length === 1 && Array.isArray(first) ? first : given;
	return { places: undefined, values: values.slice(0, count).map(checkValue) };
}

function checkValue(value) {
	switch (typeof value) {
		case 'number':
		case 'string':
			return value;
		case 'bigint':
			if (BigInt.asIntN(64, value) !== value) throw new RangeError('The bound bigint has more than 64 bits');
			return value;
		case 'boolean':
			// An INTEGER, which a number is not.
			return value ? 1n : 0n;
		case 'undefined':
			return null;
		case 'object':
			if (value === null) return null;
			if (value instanceof ArrayBuffer) return Buffer.from(value);
			if (ArrayBuffer.isView(value)) return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
			break;
		// No default: what is left is refused.
	}
	throw new TypeError('SQLite3 can only bind numbers, strings, bigints, buffers, and null');
}

function checkOpen(thread) {
	if (!thread.isOpen) throw new TypeError('The database connection is not open');
}

module.exports = { Statement, checkOpen };
