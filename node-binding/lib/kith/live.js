'use strict';
// Live queries: those of one database run again when the database has changed, by whatever program.
//
// The file system tells of writes to the file; a few numbers tell whether they were commits that this connection can see. Which
// tables another program's commit touched nobody says, so every query runs again, and its callback is called if its rows differ.

const v8 = require('v8');
const { numbers } = require('../addon');

// A commit can be seen a moment after the write that announces it: as in the peer's own watch.
const LOOKS_MS = [2, 10, 50, 250];
// The net below the file system's events, and how often is looked where it gives none.
const LOOK_ANYWAY_MS = 5000;
const LOOK_UNTOLD_MS = 1000;

class Live {
	#database;
	#inner;
	#mailbox;
	#file;
	#number;
	#queries = new Set();
	#looks = [];
	#net;
	#mark;

	constructor(database, inner, mailbox, file) {
		this.#database = database;
		this.#inner = inner;
		this.#mailbox = mailbox;
		this.#file = file;
	}

	/**
	 * Adds a query: its statement, or what prepares that once it can be; what is given to it, and whom it is told.
	 *
	 * Returns the function that takes it out again.
	 */
	add({ statement, prepare, given, callback }, keepAlive) {
		if (this.#queries.size === 0) this.#start();
		const letGo = keepAlive ? this.#mailbox.hold() : () => {};
		const query = { statement, prepare, given, callback, letGo, seen: undefined, isDue: true };
		this.#queries.add(query);
		setImmediate(() => this.#notice());
		return () => {
			query.letGo();
			if (this.#queries.delete(query) && this.#queries.size === 0) this.#stop();
		};
	}

	/** Has something else be called whenever the database has changed, and at first; returns the function that ends that. */
	follow(look) {
		if (this.#queries.size === 0) this.#start();
		const follower = { look, letGo: () => {}, isDue: true };
		this.#queries.add(follower);
		this.#look(follower);
		return () => {
			if (this.#queries.delete(follower) && this.#queries.size === 0) this.#stop();
		};
	}

	/** Ends all queries. */
	end() {
		for (const { letGo } of this.#queries) letGo();
		if (this.#queries.size > 0) this.#stop();
		this.#queries.clear();
	}

	#start() {
		this.#mark = undefined;
		this.#number = this.#mailbox.add(() => {
			this.#notice();
			for (const timer of this.#looks) clearTimeout(timer);
			this.#looks = LOOKS_MS.map((ms) => setTimeout(() => this.#notice(), ms).unref());
		});
		let everyMs = LOOK_ANYWAY_MS;
		try {
			this.#inner.addon.watch(this.#number, this.#file);
		} catch {
			// The system has no room for another watch: a change is noticed later.
			everyMs = LOOK_UNTOLD_MS;
		}
		this.#net = setInterval(() => this.#notice(), everyMs).unref();
	}

	#stop() {
		this.#inner.addon.watch(this.#number, undefined);
		this.#mailbox.remove(this.#number);
		for (const timer of this.#looks) clearTimeout(timer);
		clearInterval(this.#net);
	}

	#readMark() {
		const { addon, handle } = this.#inner;
		addon.mark(handle);
		return numbers.slice(0, 3).join();
	}

	/** Runs again what may find something else. */
	#notice() {
		// What a transaction has not committed may be undone; its end is a write that is told.
		if (this.#queries.size === 0 || !this.#database.open || this.#database.inTransaction) return;
		let mark;
		try {
			mark = this.#readMark();
		} catch (error) {
			for (const query of this.#queries) {
				if (query.look === undefined) this.#tell(query, error);
				else query.isDue = true;
			}
			return;
		}
		const isChanged = mark !== this.#mark;
		this.#mark = mark;
		for (const query of this.#queries) {
			if (!isChanged && !query.isDue) continue;
			if (query.look === undefined) this.#run(query);
			else this.#look(query);
		}
	}

	/** Calls what is not a query; what it could not do is done at the next look. */
	#look(follower) {
		try {
			follower.look();
			follower.isDue = false;
		} catch {
			follower.isDue = true;
		}
	}

	#run(query) {
		query.isDue = false;
		let rows;
		try {
			query.statement ??= query.prepare();
			rows = query.statement.all(...query.given);
		} catch (error) {
			this.#tell(query, error);
			return;
		}
		// Bytes, for the rows are the application's to change.
		const seen = v8.serialize(rows);
		if (Buffer.isBuffer(query.seen) && seen.equals(query.seen)) return;
		query.seen = seen;
		this.#call(query, rows);
	}

	/** Tells of an error once; every look tries again. */
	#tell(query, error) {
		query.isDue = true;
		if (query.seen === error.message) return;
		query.seen = error.message;
		this.#call(query, undefined, error);
	}

	/** Calls back in a turn of its own, so that what is thrown there stops nobody else. */
	#call(query, rows, error) {
		setImmediate(() => {
			if (this.#queries.has(query)) query.callback(rows, error);
		});
	}
}

module.exports = Live;
