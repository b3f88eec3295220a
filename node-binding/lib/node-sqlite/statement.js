'use strict';
// The class `Statement`, and the iterator over its rows.

const { load, numbers } = require('../addon');
const { bare } = require('../bare');
const { checkBoolean, checkString } = require('./check');
const { illegalConstructor, invalidValue } = require('./errors');

const addon = load();
// Only `prepare` below makes statements and iterators; it says so with this.
const TOKEN = {};
// How many rows an iterator asks for at a time: few at first, for it may be left early.
const FIRST_ROWS = 1;
const MOST_ROWS = 64;
// The numbers of the settings.
const SETTINGS = { readBigInts: 0, returnArrays: 1, allowBareNamedParameters: 2, allowUnknownNamedParameters: 3 };
const COUNTERS = ['fullscanStep', 'sort', 'autoindex', 'vmStep', 'reprepare', 'run', 'filterMiss', 'filterHit', 'memused'];
const COLUMN_FIELDS = ['column', 'database', 'name', 'table', 'type'];

/** Tells whether a statement went with its connection. */
let isFinalized;

class Statement {
	static #properties = {
		sourceSQL: { get() { return addon.nodeSql(this.#state.handle, false); }, enumerable: true },
		expandedSQL: { get() { return addon.nodeSql(this.#state.handle, true); }, enumerable: true },
	};

	// { handle, connection, epoch, runs }: an iterator sees by it whether rows that it has already are still wanted.
	#state;

	constructor(token, state) {
		if (token !== TOKEN) throw illegalConstructor();
		this.#state = state;
		Object.defineProperties(this, Statement.#properties);
	}

	// In each of the three, few arguments go on one by one, which costs less than a list of them.
	run(a, b, c) {
		const state = this.#state;
		state.runs += 1;
		let rowid;
		switch (arguments.length) {
			case 0: rowid = addon.nodeRun(state.handle); break;
			case 1: rowid = addon.nodeRun(state.handle, a); break;
			case 2: rowid = addon.nodeRun(state.handle, a, b); break;
			case 3: rowid = addon.nodeRun(state.handle, a, b, c); break;
			default: rowid = addon.nodeRun(state.handle, ...arguments);
		}
		return rowid === undefined
			? { changes: numbers[0], lastInsertRowid: numbers[1] }
			: { changes: BigInt(numbers[0]), lastInsertRowid: rowid };
	}

	get(a, b) {
		const state = this.#state;
		state.runs += 1;
		switch (arguments.length) {
			case 0: return addon.nodeGet(state.handle);
			case 1: return addon.nodeGet(state.handle, a);
			case 2: return addon.nodeGet(state.handle, a, b);
			default: return addon.nodeGet(state.handle, ...arguments);
		}
	}

	all(a, b) {
		const state = this.#state;
		state.runs += 1;
		switch (arguments.length) {
			case 0: return addon.nodeAll(state.handle);
			case 1: return addon.nodeAll(state.handle, a);
			case 2: return addon.nodeAll(state.handle, a, b);
			default: return addon.nodeAll(state.handle, ...arguments);
		}
	}

	iterate(...given) {
		const state = this.#state;
		state.runs += 1;
		addon.nodeIterate(state.handle, ...given);
		return new StatementIterator(TOKEN, state, numbers[0]);
	}

	columns() {
		const texts = addon.nodeColumns(this.#state.handle);
		const columns = [];
		for (let at = 0; at < texts.length; at += COLUMN_FIELDS.length) {
			const column = bare();
			COLUMN_FIELDS.forEach((field, index) => { column[field] = texts[at + index]; });
			columns.push(column);
		}
		return columns;
	}

	stat(counter) {
		const { handle } = this.#state;
		addon.nodeSet(handle);
		const number = COUNTERS.indexOf(checkString(counter, 'counter'));
		if (number < 0) throw invalidValue('The "counter" argument is not a valid statistic name.');
		return addon.nodeCounter(handle, number);
	}

	resetStats() {
		addon.nodeCounter(this.#state.handle);
	}

	setAllowBareNamedParameters(enabled) {
		this.#set('allowBareNamedParameters', 'allowBareNamedParameters', enabled);
	}

	setAllowUnknownNamedParameters(enabled) {
		this.#set('allowUnknownNamedParameters', 'enabled', enabled);
	}

	setReadBigInts(enabled) {
		this.#set('readBigInts', 'readBigInts', enabled);
	}

	setReturnArrays(enabled) {
		this.#set('returnArrays', 'returnArrays', enabled);
	}

	#set(setting, name, value) {
		const { handle } = this.#state;
		addon.nodeSet(handle);
		addon.nodeSet(handle, SETTINGS[setting], checkBoolean(value, name));
	}

	close() {
		this.#finalize(true);
	}

	#finalize(isStrict) {
		const state = this.#state;
		addon.nodeFinalize(state.handle, isStrict);
		// What an iterator has taken ahead is not wanted any more.
		state.runs += 1;
	}

	static {
		isFinalized = (statement) => statement.#state.epoch !== statement.#state.connection.epoch;
		if (Symbol.dispose) {
			Statement.prototype[Symbol.dispose] = function dispose() {
				this.#finalize(false);
			};
		}
	}
}

class StatementIterator {
	#state;
	#run;
	// How often the statement was run when this run began, as seen from here.
	#runs;
	#rows = [];
	#at = 0;
	#limit = FIRST_ROWS;
	#isLast = false;
	#isAtEnd = false;

	constructor(token, state, run) {
		if (token !== TOKEN) throw illegalConstructor();
		this.#state = state;
		this.#run = run;
		this.#runs = state.runs;
	}

	next() {
		const state = this.#state;
		const isWanted = state.runs === this.#runs && state.epoch === state.connection.epoch;
		if (isWanted && this.#at < this.#rows.length) return result(false, this.#rows[this.#at++]);
		return this.#more(isWanted);
	}

	#more(isWanted) {
		if (this.#isAtEnd) {
			// One of a statement that is gone says so.
			addon.nodeSet(this.#state.handle);
			return result(true, null);
		}
		if (!(isWanted && this.#isLast)) {
			this.#rows = addon.nodeNext(this.#state.handle, this.#run, this.#limit);
			this.#isLast = numbers[0] !== 0;
			this.#limit = Math.min(this.#limit * 4, MOST_ROWS);
			this.#at = 0;
			if (this.#rows.length > 0) return result(false, this.#rows[this.#at++]);
		}
		this.#isAtEnd = true;
		this.#rows = [];
		return result(true, null);
	}

	return() {
		if (!this.#isAtEnd) {
			addon.nodeEnd(this.#state.handle, this.#run);
			this.#isAtEnd = true;
			this.#rows = [];
			this.#at = 0;
		}
		return result(true, null);
	}
}
Object.setPrototypeOf(StatementIterator.prototype, Object.getPrototypeOf(Object.getPrototypeOf([][Symbol.iterator]())));

function result(done, value) {
	const made = bare();
	made.done = done;
	made.value = value;
	return made;
}

/** Has the methods of a class seen, and said to take no arguments, as the original's are. */
function show(Class) {
	for (const name of Reflect.ownKeys(Class.prototype)) {
		const descriptor = Object.getOwnPropertyDescriptor(Class.prototype, name);
		if (name === 'constructor' || typeof descriptor.value !== 'function') continue;
		Object.defineProperty(descriptor.value, 'length', { value: 0 });
		Object.defineProperty(Class.prototype, name, { enumerable: true });
	}
}
show(Statement);
show(StatementIterator);

/** Prepares a statement on a connection; `settings` are the four that it begins with. */
function prepare(connection, sql, settings) {
	const handle = addon.nodePrepare(connection.handle, sql, settings.readBigInts, settings.returnArrays,
		settings.allowBareNamedParameters, settings.allowUnknownNamedParameters);
	return new Statement(TOKEN, { handle, connection, epoch: connection.epoch, runs: 0 });
}

/** Returns how many parameters the statement has that was prepared last. */
const parameterCountOf = () => numbers[0];

module.exports = { Statement, isFinalized, parameterCountOf, prepare, show };
