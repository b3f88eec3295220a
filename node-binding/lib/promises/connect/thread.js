'use strict';
// A database's thread, asked by promises: it does what it is asked in that order, and every question has one answer.

const { load } = require('../../addon');
const { ACTIONS, Pairs, DONE, RAN, ROW, ALL, FAILED, QUIET, DESCRIBED } = require('../../sqlite3/schedule');
const SqliteError = require('../../sqlite-error');

// For questions whose answer nobody waits for.
const NOBODY = () => {};

/** What makes of an answer the value that a promise resolves to. */
const readers = {
	[DONE]: () => undefined,
	[RAN]: (lastInsertRowid, changes, hasChanged) => ({ changes: hasChanged ? changes : 0, lastInsertRowid }),
	[ROW]: (row) => row,
	[ALL]: (rows) => rows,
	[DESCRIBED]: (columns, parameters) => ({ columns, parameters }),
};

class Thread {
	isOpen = false;
	#addon = load();
	#handle;
	/** Takes the answers; the addon itself keeps it only while a question is under way. */
	#answer = (...answer) => this.#deliver(...answer);
	#underWay = new Pairs();
	#statements = new Set();
	#nextId = 0;
	#forgotten = new FinalizationRegistry((id) => this.forget(id));

	constructor() {
		this.#handle = this.#addon.callbackBegin(this.#answer);
	}

	get inTransaction() {
		return this.isOpen && this.#addon.callbackInTransaction(this.#handle);
	}

	/** Asks for one of the actions. */
	ask(action, ...rest) {
		return this.#asked(() => this.#addon.callbackSubmit(this.#handle, ACTIONS[action], false, ...rest));
	}

	/** Asks for a statement to be used. */
	use(how, statement, { places, values }) {
		return this.#asked(() => this.#addon.callbackUse(this.#handle, how, false, statement, places, ...values));
	}

	/** Has a statement prepared, which `owner` stands for; resolves to its number, its columns and how many parameters it has. */
	async prepare(sql, owner) {
		const id = this.#nextId = (this.#nextId + 1) % 0x7fffffff;
		this.#statements.add(id);
		this.#forgotten.register(owner, id, owner);
		try {
			await this.ask('prepare', id, sql);
			return { id, ...await this.ask('describe', id) };
		} catch (error) {
			this.forget(id, owner);
			throw error;
		}
	}

	/** Makes a statement let go of its locks. */
	reset(id) {
		if (this.#statements.has(id)) this.#tell('reset', id);
	}

	/** Gives a statement up; those that nobody has any more are given up by themselves. */
	forget(id, owner) {
		if (owner !== undefined) this.#forgotten.unregister(owner);
		if (this.#statements.delete(id)) this.#tell('forget', id, false);
	}

	interrupt() {
		this.#addon.callbackInterrupt(this.#handle);
	}

	/** Closes the database after all that was asked before. */
	async close() {
		this.isOpen = false;
		for (const id of this.#statements) this.#tell('forget', id, false);
		this.#statements.clear();
		await this.ask('close');
		this.#addon.callbackEnd(this.#handle);
	}

	/** Lets the thread of a database go that could not be opened. */
	end() {
		this.#addon.callbackEnd(this.#handle);
	}

	#asked(start) {
		return new Promise((resolve, reject) => {
			start();
			this.#underWay.push(resolve, reject);
		});
	}

	/** Tells the thread to do something that cannot fail. */
	#tell(action, ...rest) {
		this.#addon.callbackSubmit(this.#handle, ACTIONS[action], true, ...rest);
		this.#underWay.push(NOBODY, NOBODY);
	}

	/** Called by the addon: how many silent jobs went well before, what it is, and what belongs to it. */
	#deliver(skipped, kind, ...answer) {
		this.#underWay.skip(skipped);
		if (kind === QUIET) return;
		const { one: resolve, other: reject } = this.#underWay;
		this.#underWay.skip(1);
		if (kind === FAILED) reject(failure(answer));
		else if (kind in readers) resolve(readers[kind](...answer));
		else reject(new TypeError('The statement is not there any more: its database was closed'));
	}
}

/** Makes the error of a failure: the code's name as its `code`, its number as its `rawCode`. */
function failure([, message, , rawCode, code]) {
	return Object.assign(new SqliteError(message, code), { rawCode });
}

module.exports = Thread;
