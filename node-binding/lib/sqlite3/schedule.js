'use strict';
// Which job of a database may be given to its thread when, and who hears what came of it.
//
// The thread does what it is given in that order. A job is exclusive if nothing else may be pending when it begins, by node-sqlite3's
// rules: exec, close, loadExtension, wait, and everything while serialized. Only a job with somebody to tell is pending until they
// were told; of the others nobody could say whether the next began before their end was known here, so the thread may run ahead.

const { AsyncResource } = require('async_hooks');
const { load } = require('../addon');
const { CODES, makeError } = require('./constants');

const SCHEDULE = Symbol('schedule');

// What the thread is asked for; see `src/callback/mod.rs`.
const ACTIONS = {
	open: 0,
	close: 1,
	exec: 2,
	loadExtension: 3,
	wait: 4,
	busyTimeout: 5,
	limit: 6,
	watch: 7,
	prepare: 8,
	reset: 9,
	finalize: 10,
	late: 11,
	forget: 12,
	backupBegin: 13,
	backupStep: 14,
	backupFinish: 15,
	describe: 16,
};

// How a statement is used.
const USES = { bind: 0, run: 1, get: 2, all: 3, each: 4, next: 5 };

// What it answers; see `src/callback/deliver.rs`.
const DONE = 0;
const RAN = 1;
const ROW = 2;
const ALL = 3;
const SOME = 4;
const FAILED = 5;
const QUIET = 7;
const TRACE = 8;
const PROFILE = 9;
const CHANGE = 10;
const BACKED_UP = 11;
const DESCRIBED = 12;

/** A queue of two lists of things: a list with a place where it begins. */
class Pairs {
	#items = [];
	#start = 0;

	push(one, other) {
		this.#items.push(one, other);
	}

	get isEmpty() {
		return this.#start === this.#items.length;
	}

	get one() {
		return this.#items[this.#start];
	}

	get other() {
		return this.#items[this.#start + 1];
	}

	skip(count) {
		const end = this.#start + 2 * count;
		while (this.#start < end) this.#items[this.#start++] = undefined;
		if (this.isEmpty) {
			this.#items.length = 0;
			this.#start = 0;
		} else if (this.#start > 4096 && this.#start * 2 > this.#items.length) {
			this.#items.splice(0, this.#start);
			this.#start = 0;
		}
	}
}

/** Keeps the asynchronous context for something that is done later; `AsyncResource.bind` does the same in many times the time. */
function later(act) {
	const resource = new AsyncResource('kithdb');
	return () => resource.runInAsyncScope(act);
}

/** Who is told of a job. */
class Told extends AsyncResource {
	#receiver;

	constructor(receiver) {
		super('kithdb');
		this.#receiver = receiver;
	}

	/** Hands over some of many rows. */
	take(rows) {
		this.runInAsyncScope(this.#receiver.take, this.#receiver, rows);
	}

	settle(owner, kind, answer) {
		if (typeof this.#receiver === 'function') this.runInAsyncScope(settle, undefined, owner, this.#receiver, kind, answer);
		else this.runInAsyncScope(this.#receiver.settle, this.#receiver, owner, kind, answer);
	}
}

class Schedule {
	isOpen = false;
	isClosing = false;
	isSerialized = false;
	#database;
	#addon = load();
	/** Takes what the thread answers; the addon itself keeps it only while a job is under way. */
	#answer = (...answer) => this.#deliver(...answer);
	#handle;
	#forgotten = new FinalizationRegistry(({ id, isFinalized }) => {
		this.send(ACTIONS.forget, undefined, undefined, id, isFinalized);
	});
	/** How many jobs that somebody is to hear of are under way. */
	#pending = 0;
	/** Whether the latest to begin was exclusive; once closed, for good. */
	#isLocked = false;
	/** Calls that wait for their turn: what begins them, and what is known of them. */
	#waiting = new Pairs();
	/** Jobs under way: whose, and who is told, in the asynchronous context of whoever asked. */
	#underWay = new Pairs();

	constructor(database) {
		this.#database = database;
		this.#handle = this.#addon.callbackBegin(this.#answer);
	}

	get isClosed() {
		return !this.isOpen && this.#isLocked;
	}

	/** Tells whether what begins now has to wait for its turn. */
	mustWait(isExclusive) {
		return !this.isOpen || ((this.#isLocked || isExclusive || this.isSerialized) && this.#pending > 0);
	}

	/** Begins something now or when its turn comes; the callback is told if the database is closed before. */
	begin(isExclusive, callback, start) {
		if (this.isClosed) {
			const error = makeError(CODES.MISUSE, 'Database is closed');
			Error.captureStackTrace(error);
			if (callback === undefined) this.#database.emit('error', error);
			else process.nextTick(() => callback.call(this.#database, error));
			return;
		}
		if (this.mustWait(isExclusive)) {
			this.#waiting.push(later(start), { isExclusive: isExclusive || this.isSerialized, callback });
			return;
		}
		this.#isLocked = isExclusive;
		start();
	}

	/** Begins what waits and may begin. */
	proceed() {
		const waiting = this.#waiting;
		if (this.isClosed) {
			if (!waiting.isEmpty) this.#refuse();
			return;
		}
		while (this.isOpen && !waiting.isEmpty && (!this.#isLocked || this.#pending === 0)) {
			const { one: start, other: { isExclusive } } = waiting;
			if (isExclusive && this.#pending > 0) break;
			waiting.skip(1);
			this.#isLocked = isExclusive;
			start();
		}
	}

	/** Tells all that wait that their turn will not come. */
	#refuse() {
		const error = makeError(CODES.MISUSE, 'Database handle is closed');
		let isTold = false;
		while (!this.#waiting.isEmpty) {
			const { callback } = this.#waiting.other;
			this.#waiting.skip(1);
			if (callback === undefined) continue;
			isTold = true;
			this.guard(() => callback.call(this.#database, error));
		}
		if (!isTold) this.#database.emit('error', error);
	}

	/** Gives the thread a job; `receiver` is a callback, something with `settle`, or undefined. */
	send(action, owner, receiver, ...rest) {
		this.#addon.callbackSubmit(this.#handle, action, receiver === undefined, ...rest);
		this.#note(owner, receiver);
	}

	/** Gives the thread a statement to use, by its number or its text. */
	use(how, owner, receiver, target, { places, values }) {
		this.#addon.callbackUse(this.#handle, how, receiver === undefined, target, places, ...values);
		this.#note(owner, receiver);
	}

	/** Has the thread give up what it has of a statement once nobody has that any more. */
	watch(statement, held) {
		this.#forgotten.register(statement, held);
	}

	/** Lets the thread go: the database is closed. */
	end() {
		this.#addon.callbackEnd(this.#handle);
	}

	interrupt() {
		this.#addon.callbackInterrupt(this.#handle);
	}

	#note(owner, receiver) {
		if (receiver === undefined) {
			this.#underWay.push(owner, undefined);
		} else {
			this.#underWay.push(owner, new Told(receiver));
			this.#pending += 1;
		}
	}

	/** Calls back; what is thrown there is the program's to handle, and nobody else hears less for it. */
	guard(run) {
		try {
			run();
		} catch (error) {
			this.#addon.callbackReport(error);
		}
	}

	/** Called by the addon: how many silent jobs went well before, what it is, and what belongs to it. */
	#deliver(skipped, kind, ...answer) {
		const underWay = this.#underWay;
		if (skipped > 0) underWay.skip(skipped);
		if (kind === QUIET) return;
		if (kind === SOME) {
			underWay.other.take(answer[0]);
			return;
		}
		if (kind === TRACE || kind === PROFILE || kind === CHANGE) {
			const event = kind === TRACE ? 'trace' : kind === PROFILE ? 'profile' : 'change';
			this.#database.emit(event, ...answer);
			return;
		}
		const { one: owner, other: told } = underWay;
		underWay.skip(1);
		if (told === undefined) {
			if (kind === FAILED) owner.emit('error', makeError(answer[0], answer[1]));
			return;
		}
		// A job of the database itself is over when it calls back, one of a statement afterwards.
		const isEarly = owner === this.#database;
		if (isEarly) this.#pending -= 1;
		try {
			told.settle(owner, kind, answer);
		} finally {
			if (!isEarly) this.#pending -= 1;
			this.proceed();
		}
	}
}

/** Calls a plain callback. */
function settle(owner, callback, kind, [first, second, third]) {
	switch (kind) {
		case DONE:
			callback.call(owner, null);
			break;
		case RAN:
			owner.lastID = first;
			owner.changes = second;
			callback.call(owner, null);
			break;
		case ROW:
			if (first === undefined) callback.call(owner, null);
			else callback.call(owner, null, first);
			break;
		case ALL:
			callback.call(owner, null, first);
			break;
		case FAILED:
			// Where the statement did not come to be, the callback belongs to nobody.
			callback.call(third ? owner : undefined, makeError(first, second));
			break;
		// No default: what was dropped is not heard of.
	}
}

module.exports = { later, Pairs, SCHEDULE, Schedule, ACTIONS, USES, DONE, RAN, ROW, ALL, FAILED, QUIET, BACKED_UP, DESCRIBED };
