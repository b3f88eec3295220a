'use strict';
// db.kith.on: peers that were started on this database tell of `peer` and `sync`, the log in the file of `change` and `conflict`.

const NAMES = ['change', 'conflict', 'peer', 'sync'];

// What a peer tells of what it does with the log; all else is about peers.
const SYNC = new Set([
	'progress', 'caught-up', 'in-step', 'sealed', 'applied', 'triggers-left-out', 'torn', 'forged', 'damaged', 'fork', 'clock-ahead',
	'new-incarnation', 'written-anew', 'receiving-paused', 'receiving-resumed', 'delayed',
]);

// What has become of an entry, in the log's own numbers.
const APPLIED = 1;
const REFUSED = 3;

// What could not be read is read again after this long.
const AGAIN_MS = 100;

/** Checks what `on`, `once` and `off` are given. */
function checkListener(method, name, listener) {
	if (!NAMES.includes(name)) throw new TypeError(`db.kith.${method} knows no event ${JSON.stringify(String(name))}; there are ${NAMES.join(', ')}`);
	if (typeof listener !== 'function') throw new TypeError(`db.kith.${method} takes an event and a function that is called with what it is about`);
}

/** Tells whether an event comes out of the log, and not from a peer. */
const isOfLog = (name) => name === 'change' || name === 'conflict';

/** Returns the event that something a peer tells is part of. */
const eventOf = (name) => (SYNC.has(name) ? 'sync' : 'peer');

/** Tells of entries that are merged, whether they were written here or came from others, and of the conflicts that they bring. */
class LogEvents {
	#database;
	#events;
	/** The last entry that was looked at. */
	#last;
	/** Entries that had arrived and were not merged then. */
	#waiting = new Set();
	/** Entries to tell of, in their order. */
	#due = [];
	/** How many of them were told of. */
	#told = 0;
	#conflicts;
	#devices = new Map();
	#isEnded = false;

	constructor(database, events) {
		this.#database = database;
		this.#events = events;
	}

	/** Tells nothing any more. */
	end() {
		this.#isEnded = true;
	}

	/** Looks for what is new; to be called whenever the database has changed. */
	look() {
		if (this.#last === undefined) {
			this.#conflicts = new Set(this.#readConflicts().keys());
			// What is there already is not new, once it is merged.
			for (const { arrival, status } of this.#read('SELECT arrival, status FROM kith__entries WHERE status NOT IN (?, ?)', APPLIED, REFUSED)) {
				if (status !== REFUSED) this.#waiting.add(arrival);
			}
			this.#last = this.#read('SELECT ifnull(max(arrival), 0) AS last FROM kith__entries')[0].last;
			return;
		}
		const merged = this.#sift(this.#read(
			'SELECT arrival, status FROM kith__entries WHERE arrival IN (SELECT value FROM json_each(?)) ORDER BY arrival',
			JSON.stringify([...this.#waiting]),
		));
		const arrived = this.#read('SELECT arrival, status FROM kith__entries WHERE arrival > ? ORDER BY arrival', this.#last);
		if (arrived.length > 0) this.#last = arrived[arrived.length - 1].arrival;
		merged.push(...this.#sift(arrived));
		if (merged.length === 0) return;
		if (this.#due.length === 0) setImmediate(() => this.#tellNext());
		for (const entry of merged) this.#due.push(entry);
		this.#tellConflicts();
	}

	/** Returns those entries that are merged, and notes those that wait. */
	#sift(entries) {
		const merged = [];
		for (const { arrival, status } of entries) {
			if (status === APPLIED) merged.push(arrival);
			if (status === APPLIED || status === REFUSED) this.#waiting.delete(arrival);
			else this.#waiting.add(arrival);
		}
		return merged;
	}

	/** Tells of one entry after the other, each in a turn of its own. */
	#tellNext() {
		if (this.#isEnded || !this.#database.open) return;
		let about;
		try {
			about = this.#describe(this.#due[this.#told]);
		} catch {
			// Another program may have locked the file.
			setTimeout(() => this.#tellNext(), AGAIN_MS).unref();
			return;
		}
		this.#told += 1;
		if (this.#told < this.#due.length) {
			setImmediate(() => this.#tellNext());
		} else {
			this.#due = [];
			this.#told = 0;
		}
		if (about !== undefined) this.#events.emit('change', about);
	}

	/** Returns what is told of an entry, if anybody listens. */
	#describe(entry) {
		if (this.#events.listenerCount('change') === 0) return undefined;
		const rows = this.#read('SELECT * FROM kith_changes WHERE entry = ?', entry);
		// Where tables are defined, no rows are changed.
		if (rows.length === 0) return undefined;
		const { device, isOwn } = this.#deviceOf(rows[0].signed_by);
		return {
			entry,
			table: rows[0].table_name,
			device,
			isOwn,
			changes: rows.map((row) => ({
				operation: row.operation, rowKey: row.row_key, column: row.column_name, value: row.value, writtenAt: row.written_at,
			})),
		};
	}

	#tellConflicts() {
		if (this.#events.listenerCount('conflict') === 0) {
			this.#conflicts = undefined;
			return;
		}
		const found = this.#readConflicts();
		const known = this.#conflicts ?? new Set();
		this.#conflicts = new Set(found.keys());
		for (const [key, conflict] of found) {
			if (!known.has(key)) setImmediate(() => !this.#isEnded && this.#events.emit('conflict', conflict));
		}
	}

	/** Returns the conflicts that there are, each by what tells it from others. */
	#readConflicts() {
		const rows = this.#read("SELECT * FROM kith_conflicts WHERE kind <> 'past'");
		return new Map(rows.map((row) => [JSON.stringify(row), row]));
	}

	#deviceOf(id) {
		if (!this.#devices.has(id)) {
			for (const member of this.#read('SELECT device, device_id, is_this_device FROM kith_members')) {
				this.#devices.set(member.device_id, { device: member.device, isOwn: member.is_this_device === 1 });
			}
		}
		return this.#devices.get(id) ?? { device: null, isOwn: false };
	}

	#read(sql, ...given) {
		return this.#database.prepare(sql).safeIntegers(false).all(...given);
	}
}

module.exports = { checkListener, isOfLog, eventOf, LogEvents };
