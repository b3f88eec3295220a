'use strict';
// db.kith: what goes beyond the drop-in. What is here is synchronous; a peer that runs (open, join, invite, watch) is not yet.

const { checkString, checkOptions } = require('./check');

class Kith {
	#database;
	#inner;

	constructor(database, inner) {
		this.#database = database;
		this.#inner = inner;
	}

	/** Tells whether the database belongs to a workspace. */
	get isReplica() {
		return this.#inner.addon.isReplica(this.#inner.handle);
	}

	/**
	 * Founds a workspace in the open database, which goes on as a replica.
	 *
	 * Statements prepared before are closed. Functions and extensions are added afterwards.
	 */
	init(options) {
		checkOptions(options, 'first');
		const { name } = options;
		if (typeof name !== 'string') throw new TypeError('Expected the "name" option to be a string: what people know this device by');
		const { addon, handle } = this.#inner;
		addon.found(handle, name);
		// Their statements are among those that were closed.
		this.#inner.transactions = undefined;
		return this.#database;
	}

	/** Has the writes to a table recorded and merged, or with `*` those to all tables that are fit; returns what came of it. */
	sync(table, options) {
		checkString(table, 'first');
		const sql = options === undefined ? 'SELECT kith_sync(?)' : 'SELECT kith_sync(?, ?)';
		const given = options === undefined ? [table] : [table, JSON.stringify(options)];
		return JSON.parse(this.#value(sql, given));
	}

	/** Takes a table out again. */
	unsync(table) {
		checkString(table, 'first');
		this.#value('SELECT kith_unsync(?)', [table]);
	}

	/** Tells what this database is to the workspace: its tables, the devices, what waits and what is in conflict. */
	status() {
		if (!this.isReplica) return { replica: false, tables: [], members: [], peers: [], conflicts: 0 };
		const rows = (sql) => this.#database.prepare(sql).safeIntegers(false).all();
		return {
			replica: true,
			tables: rows('SELECT * FROM kith_tables'),
			members: rows('SELECT * FROM kith_members'),
			peers: rows('SELECT * FROM kith_peers'),
			conflicts: rows("SELECT count(*) AS n FROM kith_conflicts WHERE kind <> 'past'")[0].n,
		};
	}

	#value(sql, given) {
		if (!this.isReplica && this.#database.open) {
			throw new TypeError('The database belongs to no workspace yet; call db.kith.init({ name }) first');
		}
		return this.#database.prepare(sql).pluck().get(...given);
	}
}

module.exports = Kith;
