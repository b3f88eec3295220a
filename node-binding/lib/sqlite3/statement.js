'use strict';
// The class `Statement`, and the use of a statement that a text is prepared for once.

const EventEmitter = require('events');
const { later, SCHEDULE, ACTIONS, USES, DONE, FAILED } = require('./schedule');
const { makeError } = require('./constants');
const { takeCallback, readParameters, keepParameters } = require('./parameters');

const ONCE = Symbol('once');

/** Takes the rows of `each` one by one, and their end. */
class Each {
	#schedule;
	#row;
	#complete;
	#owner;
	#count = 0;
	/** Told if the statement does not come to be. */
	#last;

	constructor(schedule, owner, row, complete, last) {
		this.#schedule = schedule;
		this.#owner = owner;
		this.#row = row;
		this.#complete = complete;
		this.#last = last;
	}

	take(rows) {
		if (this.#row === undefined) return;
		for (const row of rows) {
			this.#count += 1;
			this.#schedule.guard(() => this.#row.call(this.#owner, null, row));
		}
	}

	settle(owner, kind, [errno, message, isPrepared]) {
		if (kind === FAILED) {
			const error = makeError(errno, message);
			if (!isPrepared) {
				this.#last.call(undefined, error);
				return;
			}
			this.#schedule.guard(() => {
				if (this.#row === undefined) owner.emit('error', error);
				else this.#row.call(owner, error);
			});
		} else if (kind !== DONE) {
			return;
		}
		this.#complete?.call(owner, null, this.#count);
	}
}

let nextId = 0;

class Statement {
	#schedule;
	#database;
	#sql;
	#id;
	/** What is known of it when it is collected. */
	#held;
	#isFinalized = false;
	/** What waits until the statement is given to the thread; undefined from then on. */
	#waiting;

	constructor(database, sql, callback) {
		if (database === ONCE) return;
		const schedule = database?.[SCHEDULE];
		if (schedule === undefined) throw new TypeError('Database object expected');
		if (typeof sql !== 'string') throw new TypeError('SQL query expected');
		if (callback !== undefined && typeof callback !== 'function') throw new TypeError('Callback expected');
		this.#schedule = schedule;
		this.#database = database;
		this.#sql = sql;
		this.#id = nextId = (nextId + 1) % 0x7fffffff;
		this.#held = { id: this.#id, isFinalized: false };
		this.#waiting = [];
		schedule.begin(false, callback, () => {
			schedule.send(ACTIONS.prepare, this, callback, this.#id, sql);
			schedule.watch(this, this.#held);
			const waiting = this.#waiting;
			this.#waiting = undefined;
			for (const act of waiting) act();
		});
	}

	get sql() {
		return this.#sql;
	}

	bind(...given) {
		const callback = takeCallback(given);
		return this.#use(USES.bind, callback, given);
	}

	run(...given) {
		const callback = takeCallback(given);
		return this.#use(USES.run, callback, given);
	}

	get(...given) {
		const callback = takeCallback(given);
		return this.#use(USES.get, callback, given);
	}

	all(...given) {
		const callback = takeCallback(given);
		return this.#use(USES.all, callback, given);
	}

	each(...given) {
		return this.#use(USES.each, takeEach(this.#schedule, this, given), given);
	}

	map(...given) {
		given.push(collectMap(given.pop()));
		return this.all(...given);
	}

	reset(callback) {
		checkCallback(callback, 0);
		this.#act(callback, () => this.#schedule.send(ACTIONS.reset, this, callback, this.#id));
		return this;
	}

	finalize(callback) {
		checkCallback(callback, 0);
		const receiver = callback && { settle: (owner, kind) => kind === DONE && callback.call(owner) };
		this.#act(callback, () => this.#schedule.send(ACTIONS.finalize, this, receiver, this.#id));
		this.#isFinalized = true;
		this.#held.isFinalized = true;
		return this.#database;
	}

	#use(how, receiver, given) {
		const read = readParameters(given);
		const parameters = this.#waiting === undefined ? read : keepParameters(read);
		this.#act(receiver, () => this.#schedule.use(how, this, receiver, this.#id, parameters));
		return this;
	}

	/** Acts now, or once the statement is given to the thread; refuses after `finalize`. */
	#act(receiver, act) {
		const turn = this.#isFinalized ? () => this.#schedule.send(ACTIONS.late, this, receiver, this.#id) : act;
		if (this.#waiting === undefined) turn();
		else this.#waiting.push(later(turn));
	}

	/** Uses a statement that is prepared for it and finalized afterwards. */
	static [ONCE](how, database, sql, receiverOf, given) {
		const schedule = database[SCHEDULE];
		if (typeof sql !== 'string') throw new TypeError('SQL query expected');
		const statement = new Statement(ONCE);
		statement.#schedule = schedule;
		statement.#database = database;
		statement.#sql = sql;
		const last = typeof given[given.length - 1] === 'function' ? given[given.length - 1] : undefined;
		const receiver = receiverOf(schedule, statement, given);
		const read = readParameters(given);
		const parameters = schedule.mustWait(false) ? keepParameters(read) : read;
		const refused = last && ((error) => last.call(undefined, error));
		schedule.begin(false, refused, () => schedule.use(how, statement, receiver, sql, parameters));
		return database;
	}
}

// An emitter without its constructor, which would cost as much as all else: it is made for every use of a text.
Object.setPrototypeOf(Statement.prototype, EventEmitter.prototype);

function takeEach(schedule, owner, given) {
	const last = takeCallback(given);
	if (last === undefined) return undefined;
	const row = takeCallback(given);
	return row === undefined ? new Each(schedule, owner, last, undefined, last) : new Each(schedule, owner, row, last, last);
}

function checkCallback(callback, position) {
	if (callback !== undefined && typeof callback !== 'function') {
		throw new TypeError(`Argument ${position} must be a function`);
	}
}

/** Makes of a callback for a map one for rows: the first column is the key; the other the value, or the row if there are more. */
function collectMap(callback) {
	return function (error, rows) {
		if (error) {
			callback(error);
			return;
		}
		const map = {};
		const keys = rows.length > 0 ? Object.keys(rows[0]) : [];
		for (const row of rows) map[row[keys[0]]] = keys.length > 2 ? row : row[keys[1]];
		callback(error, map);
	};
}

const callbackOf = (schedule, statement, given) => takeCallback(given);

/** Uses a statement once: how, on which database, the text, the arguments after it. */
function useOnce(how, database, sql, given) {
	return Statement[ONCE](how, database, sql, how === USES.each ? takeEach : callbackOf, given);
}

module.exports = { Statement, useOnce, collectMap, checkCallback };
