'use strict';
// The class `Statement`, and the iterator over its rows.

const { checkString } = require('./check');
const { numbers } = require('./addon');
const { begin, leave } = require('./blobs');

// Only `prepare` below makes statements and iterators; it says so with this.
const TOKEN = {};
// How many rows an iterator asks for at a time: few at first, for it may be left early.
const FIRST_ROWS = 1;
const MOST_ROWS = 64;

const MODES = { object: 0, pluck: 1, expand: 2, raw: 3 };

/** Returns a number as V8 keeps it without an object of its own, if it can be. */
const small = (number) => ((number | 0) === number ? number | 0 : number);

class Statement {
	#addon;
	#handle;
	// The native database, which owns the statement: `database` may be something that only stands in for one.
	#owner;
	#mode = MODES.object;

	constructor() {
		const [token, database, addon, handle, source, owner] = made(arguments);
		if (token !== TOKEN) throw new TypeError('Statements can only be constructed by the db.prepare() method');
		const [reader, readonly] = [numbers[0] !== 0, numbers[1] !== 0];
		this.#addon = addon;
		this.#handle = handle;
		this.#owner = owner;
		this.busy = false;
		Object.defineProperty(this, 'reader', { value: reader, enumerable: true });
		Object.defineProperty(this, 'readonly', { value: readonly, enumerable: true });
		Object.defineProperty(this, 'source', { value: source, enumerable: true });
		Object.defineProperty(this, 'database', { value: database, enumerable: true });
	}

	// The first few arguments go on one by one, with their number: a list of them would be more garbage than all else here.
	run(a, b, c, d, e, f) {
		if (!(#addon in this)) illegal();
		begin();
		const rowid = arguments.length <= 6
			? this.#addon.run(this.#handle, arguments.length, leave(a), leave(b), leave(c), leave(d), leave(e), leave(f))
			: this.#addon.run(this.#handle, arguments.length, ...Array.from(arguments, leave));
		return { changes: small(numbers[0]), lastInsertRowid: rowid === undefined ? small(numbers[1]) : rowid };
	}

	// In both of these, few arguments go on one by one, which costs less than a list of them.
	get(a, b) {
		if (!(#addon in this)) illegal();
		switch (arguments.length) {
			case 0: return this.#addon.get(this.#handle);
			case 1: return this.#addon.get(this.#handle, a);
			case 2: return this.#addon.get(this.#handle, a, b);
			default: return this.#addon.get(this.#handle, ...arguments);
		}
	}

	all(a, b) {
		if (!(#addon in this)) illegal();
		switch (arguments.length) {
			case 0: return this.#addon.all(this.#handle);
			case 1: return this.#addon.all(this.#handle, a);
			case 2: return this.#addon.all(this.#handle, a, b);
			default: return this.#addon.all(this.#handle, ...arguments);
		}
	}

	iterate(...given) {
		if (!(#addon in this)) illegal();
		this.#addon.iterate(this.#handle, ...given);
		this.busy = true;
		return new StatementIterator(TOKEN, this, this.#addon, this.#handle);
	}

	bind(...given) {
		if (!(#addon in this)) illegal();
		this.#addon.bind(this.#handle, ...given);
		return this;
	}

	pluck(...given) {
		if (!(#addon in this)) illegal();
		return this.#setMode('pluck', given);
	}

	expand(...given) {
		if (!(#addon in this)) illegal();
		return this.#setMode('expand', given);
	}

	raw(...given) {
		if (!(#addon in this)) illegal();
		return this.#setMode('raw', given);
	}

	#setMode(name, given) {
		if (!this.reader) throw new TypeError(`The ${name}() method is only for statements that return data`);
		this.#addon.setMode(this.#handle);
		const mode = MODES[name];
		if (isOn(given)) this.#mode = mode;
		else if (this.#mode === mode) this.#mode = MODES.object;
		this.#addon.setMode(this.#handle, this.#mode);
		return this;
	}

	safeIntegers(...given) {
		if (!(#addon in this)) illegal();
		this.#addon.setSafe(this.#handle);
		this.#addon.setSafe(this.#handle, isOn(given));
		return this;
	}

	columns() {
		if (!(#addon in this)) illegal();
		if (!this.reader) throw new TypeError('The columns() method is only for statements that return data');
		return this.#addon.columns(this.#handle);
	}

	toString() {
		if (!(#addon in this)) illegal();
		return this.#addon.expanded(this.#handle) ?? this.source;
	}
}

class StatementIterator {
	#addon;
	#handle;
	#rows = [];
	#at = 0;
	#limit = FIRST_ROWS;
	#isLast = false;
	#isAtEnd = false;

	constructor() {
		const [token, statement, addon, handle] = made(arguments);
		if (token !== TOKEN) throw new TypeError('Disabled constructor');
		Object.defineProperty(this, 'statement', { value: statement, enumerable: true });
		this.#addon = addon;
		this.#handle = handle;
	}

	next() {
		if (!(#addon in this)) illegal();
		if (this.#at < this.#rows.length) return { value: this.#rows[this.#at++], done: false };
		return this.#more();
	}

	#more() {
		if (this.#isAtEnd) return { value: undefined, done: true };
		if (this.#isLast) return this.return();
		try {
			this.#rows = this.#addon.next(this.#handle, this.#limit);
		} catch (error) {
			if (!isBusy(error)) this.return();
			throw error;
		}
		this.#isLast = numbers[0] !== 0;
		this.#limit = Math.min(this.#limit * 4, MOST_ROWS);
		this.#at = 0;
		return this.next();
	}

	return() {
		if (!(#addon in this)) illegal();
		if (!this.#isAtEnd) {
			this.#addon.end(this.#handle);
			this.#isAtEnd = true;
			this.#rows = [];
			this.#at = 0;
			this.statement.busy = false;
		}
		return { value: undefined, done: true };
	}

	[Symbol.iterator]() {
		return this;
	}
}

/** The constructors take no arguments as far as anybody can see. */
function made(given) {
	return given;
}

/** Says what V8 says of a native method that is called on something else. */
function illegal() {
	throw new TypeError('Illegal invocation');
}

function isBusy(error) {
	return error instanceof TypeError && error.message === 'This database connection is busy executing a query';
}

function isOn(given) {
	if (given.length === 0) return true;
	if (typeof given[0] !== 'boolean') throw new TypeError('Expected first argument to be a boolean');
	return given[0];
}

// The original's methods can be seen, and put in place of one another.
for (const name of ['run', 'get', 'all', 'iterate', 'bind', 'pluck', 'expand', 'raw', 'safeIntegers', 'columns', 'toString']) {
	Object.defineProperty(Statement.prototype, name, { enumerable: true });
}

/** Prepares a statement for a database. */
module.exports = function prepare(database, addon, handle, sql, safeIntegers) {
	checkString(sql, 'first');
	const statement = addon.prepare(handle, sql, safeIntegers);
	return new Statement(TOKEN, database, addon, statement, sql, handle);
};
