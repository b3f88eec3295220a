'use strict';
// The class `Backup`: an online backup, step by step.

const EventEmitter = require('events');
const { later, SCHEDULE, ACTIONS, DONE, FAILED, BACKED_UP } = require('./schedule');
const { CODES, makeError } = require('./constants');

let nextId = 0;

class Backup extends EventEmitter {
	#schedule;
	#id;
	#isBegun = false;
	/** Whether no more can be asked for. */
	#isFinished = false;
	#completed = false;
	#failed = false;
	#remaining = 0;
	#pageCount = 0;
	#retryErrors;
	/** How much was asked for and has not ended. */
	#asked = 0;
	/** What waits until the backup is given to the thread; undefined from then on. */
	#waiting = [];

	constructor(database, filename, sourceName, destName, filenameIsDest, callback) {
		super();
		this.#schedule = database?.[SCHEDULE];
		if (this.#schedule === undefined) throw new TypeError('Database object expected');
		if (typeof filename !== 'string') throw new TypeError('Filename expected');
		if (typeof sourceName !== 'string') throw new TypeError('Source database name expected');
		if (typeof destName !== 'string') throw new TypeError('Destination database name expected');
		if (typeof filenameIsDest !== 'boolean') throw new TypeError('Direction flag expected');
		if (callback !== undefined && typeof callback !== 'function') throw new TypeError('Callback expected');
		for (const [name, value] of Object.entries({ filename, sourceName, destName, filenameIsDest })) {
			Object.defineProperty(this, name, { value });
		}
		this.#id = nextId = (nextId + 1) % 0x7fffffff;
		const receiver = {
			settle: (owner, kind, [errno, message]) => {
				if (kind === DONE) {
					this.#isBegun = true;
					callback?.call(this, null);
				} else if (kind === FAILED) {
					this.#isFinished = true;
					this.#failed = true;
					this.#tell(callback, makeError(errno, message));
				}
			},
		};
		this.#schedule.begin(false, callback, () => {
			const names = [this.#id, filename, destName, sourceName, filenameIsDest];
			this.#schedule.send(ACTIONS.backupBegin, this, receiver, ...names);
			const waiting = this.#waiting;
			this.#waiting = undefined;
			for (const act of waiting) act();
		});
	}

	get idle() {
		return this.#isBegun && this.#asked === 0;
	}

	get completed() {
		return this.#completed;
	}

	get failed() {
		return this.#failed;
	}

	get remaining() {
		return this.#remaining;
	}

	get pageCount() {
		return this.#pageCount;
	}

	get retryErrors() {
		return this.#retryErrors;
	}

	set retryErrors(codes) {
		if (!Array.isArray(codes)) throw new Error('retryErrors must be an array');
		this.#retryErrors = codes;
	}

	/** Copies some pages, all with a negative number; the callback is told whether all is done. */
	step(pages, callback) {
		if (typeof pages !== 'number') throw new TypeError('Argument 0 must be an integer');
		if (callback !== undefined && typeof callback !== 'function') throw new TypeError('Argument 1 must be a function');
		const retried = (this.#retryErrors ?? []).filter((code) => typeof code === 'number');
		const settle = (owner, kind, [isDone, hasFailed, remaining, pageCount, errno, message]) => {
			if (kind !== BACKED_UP) return;
			this.#remaining = remaining;
			this.#pageCount = pageCount;
			this.#completed ||= isDone;
			this.#failed ||= hasFailed;
			if (errno !== 0) this.#tell(callback, makeError(errno, message));
			else callback?.call(this, null, isDone);
		};
		return this.#act(callback, settle, ACTIONS.backupStep, pages, retried);
	}

	/** Ends the backup, whether all was copied or not. */
	finish(callback) {
		if (callback !== undefined && typeof callback !== 'function') throw new TypeError('Argument 0 must be a function');
		const settle = (owner, kind) => {
			if (kind !== DONE) return;
			if (!this.#completed) this.#failed = true;
			callback?.call(this);
		};
		this.#act(callback, settle, ACTIONS.backupFinish);
		this.#isFinished = true;
		return this;
	}

	#act(callback, settle, action, ...rest) {
		const isLate = this.#isFinished;
		const receiver = {
			settle: (owner, kind, answer) => {
				this.#asked -= 1;
				if (isLate) this.#tell(callback, makeError(CODES.MISUSE, 'Backup is already finished'));
				else settle(owner, kind, answer);
			},
		};
		const act = isLate
			? () => this.#schedule.send(ACTIONS.wait, this, receiver)
			: () => this.#schedule.send(action, this, receiver, this.#id, ...rest);
		this.#asked += 1;
		if (this.#waiting === undefined) act();
		else this.#waiting.push(later(act));
		return this;
	}

	#tell(callback, error) {
		if (callback === undefined) this.emit('error', error);
		else callback.call(this, error);
	}
}

module.exports = Backup;
