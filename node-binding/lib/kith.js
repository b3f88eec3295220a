'use strict';
// db.kith: what goes beyond the drop-in. What waits for others returns a promise, the rest is synchronous.

const { EventEmitter } = require('events');
const { checkString, checkOptions } = require('./check');
const { graphOf } = require('./kith/graph');
const { checkListener, isOfLog, eventOf, LogEvents } = require('./kith/events');
const Live = require('./kith/live');
const { mailboxOf } = require('./kith/mailbox');
const { readExpires, readOptions } = require('./kith/options');
const Peer = require('./kith/peer');
const { searchStatement, checkModel, toRow } = require('./kith/search');

const OPEN = {
	listen: 'place', mdns: 'boolean', gossip: 'boolean', peers: 'strings', dialPastPeers: 'boolean',
	reportAfterMs: 'milliseconds', busyTimeoutMs: 'milliseconds', keepAlive: 'boolean',
};
const INIT = { name: 'string' };
const INVITE = { role: 'role', expires: 'moment', addresses: 'strings' };
const JOIN = { name: 'string', peers: 'strings', mdns: 'boolean', timeoutMs: 'milliseconds', mergeByKey: 'boolean' };
const WATCH = { keepAlive: 'boolean' };

class Kith {
	#database;
	#inner;
	#live;
	#events = new EventEmitter();
	/** Ends the events of the log, where somebody listens to them. */
	#endLogEvents;

	constructor(database, inner) {
		this.#database = database;
		this.#inner = inner;
		inner.atClose = () => this.#end();
		// Whoever hears of one event only is taken off before that is told, and may come back while it is.
		this.#events.on('removeListener', (name) => isOfLog(name) && setImmediate(() => this.#endUnheard()));
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
		readOptions('init', options, INIT);
		const { addon, handle } = this.#inner;
		this.#end();
		try {
			addon.found(handle, name);
		} catch (error) {
			throw inOurWords(error);
		}
		// Their statements are among those that were closed.
		this.#inner.transactions = undefined;
		this.#follow('change');
		return this.#database;
	}

	/** Has the writes to a table recorded and merged, or with `*` those to all that are fit, now and later; returns what came of it. */
	sync(table, options) {
		checkString(table, 'first');
		const sql = options === undefined ? 'SELECT kith_sync(?)' : 'SELECT kith_sync(?, ?)';
		const given = options === undefined ? [table] : [table, JSON.stringify(options)];
		return JSON.parse(this.#value(sql, given));
	}

	/** Takes a table out again; with `*` none, but tables that are made from now on are no longer taken in. */
	unsync(table) {
		checkString(table, 'first');
		this.#value('SELECT kith_unsync(?)', [table]);
	}

	/** Returns the rows of a table that fit a text best: by its text index, by how a column is written, or by text and embedding. */
	search(table, text, options = {}) {
		checkString(table, 'first');
		const { sql, given, needsModel } = searchStatement(table, text, options);
		if (needsModel) checkModel(this.#database, table);
		return this.#database.prepare(sql).safeIntegers(false).all(...given).map(toRow);
	}

	/** Lists the devices of the workspace. */
	members() {
		return this.#rows('SELECT * FROM kith_members');
	}

	/** Lists the replicas that this file has synced with. */
	peers() {
		return this.#rows('SELECT * FROM kith_peers');
	}

	/** Lists the rows that are kept out of their table, and what violates a constraint that is not enforced. */
	conflicts() {
		return this.#rows('SELECT * FROM kith_conflicts');
	}

	/** Tells what this database is to the workspace: its tables, the devices, what waits and what is in conflict. */
	status() {
		if (!this.isReplica && !this.#isOfWorkspace()) return { replica: false, tables: [], members: [], peers: [], conflicts: 0 };
		this.#checkReplica();
		return {
			replica: true,
			tables: this.#rows('SELECT * FROM kith_tables'),
			members: this.members(),
			peers: this.peers(),
			conflicts: this.#rows("SELECT count(*) AS n FROM kith_conflicts WHERE kind <> 'past'")[0].n,
		};
	}

	/** Returns a graph over the tables by its name, declared first if a definition is given; the file may be a plain one. */
	graph(name, definition) {
		return graphOf(this.#database, name, definition);
	}

	/** Lists the graphs that the file declares: the rows of kith_graphs. */
	graphs() {
		return this.#database.prepare('SELECT * FROM kith_graphs').all();
	}

	/** Starts to sync the database's file; resolves to the running peer. */
	async open(options = {}) {
		const read = readOptions('open', options, OPEN);
		const file = this.#file('open', { isReplica: true });
		const { addon } = this.#inner;
		return Peer.start(addon, mailboxOf(addon), file, read, (name, about) => this.#events.emit(eventOf(name), about));
	}

	/** Makes a ticket with which one device can join; resolves to its text, which is a secret. */
	async invite(options) {
		const { role, expires = '1d', addresses = [] } = readOptions('invite', options, INVITE);
		if (role === undefined) throw new TypeError('Expected the "role" option of db.kith.invite to be "writer" or "owner"');
		const expiresUnixMs = readExpires(expires);
		const file = this.#file('invite', { isReplica: true });
		const { addon } = this.#inner;
		return mailboxOf(addon).ask((number) => {
			addon.peerInvite(number, file, role === 'owner', expiresUnixMs, JSON.stringify(addresses));
		});
	}

	/**
	 * Joins a workspace with the open database, which goes on as a replica.
	 *
	 * The database is closed until the promise is settled; statements prepared before are closed for good.
	 */
	async join(ticket, options) {
		checkString(ticket, 'first');
		const read = readOptions('join', options, JOIN);
		if (read.name === undefined) throw new TypeError('Expected the "name" option of db.kith.join to be a string: what people know this device by');
		const file = this.#file('join', { isReplica: false });
		const { addon, handle } = this.#inner;
		this.#end();
		try {
			await mailboxOf(addon).ask((number) => addon.peerJoin(handle, number, file, ticket, JSON.stringify(read)));
		} catch (error) {
			throw inOurWords(error);
		} finally {
			addon.reopen(handle, file);
			this.#inner.transactions = undefined;
			this.#follow('change');
		}
		return this.#database;
	}

	/**
	 * Runs a query now and whenever the database has changed, through this connection, a peer or another program.
	 *
	 * `callback(rows)` is called with the first rows, and with others only if they differ; `callback(undefined, error)` if the
	 * query fails. A replica's query may be about tables that have not arrived yet. Returns the function that ends it.
	 */
	watch(sql, ...given) {
		checkString(sql, 'first');
		const at = given.findIndex((value) => typeof value === 'function');
		if (at < 0 || at > 1) throw new TypeError('db.kith.watch takes a query, its parameters, and a function that is called with the rows');
		const callback = given[at];
		const { keepAlive = true } = readOptions('watch', given[at + 1] ?? {}, WATCH);
		const file = this.#file('watch', {});
		const prepare = () => {
			const statement = this.#database.prepare(sql);
			if (!statement.reader || !statement.readonly) throw new TypeError('db.kith.watch takes a statement that returns rows and writes nothing');
			return statement;
		};
		let statement;
		try {
			statement = prepare();
		} catch (error) {
			if (!this.isReplica || !isMissingTable(error)) throw error;
		}
		const parameters = at === 0 || given[0] === undefined ? [] : [given[0]];
		return this.#liveOf(file).add({ statement, prepare, given: parameters, callback }, keepAlive);
	}

	/**
	 * Has a listener be called when something happens to the workspace: `change`, `conflict`, `peer` or `sync`.
	 *
	 * Listeners do not keep the program from ending.
	 */
	on(name, listener) {
		checkListener('on', name, listener);
		this.#checkFollows(name);
		this.#events.on(name, listener);
		this.#follow(name);
		return this;
	}

	/** The same, for the next time only. */
	once(name, listener) {
		checkListener('once', name, listener);
		this.#checkFollows(name);
		this.#events.once(name, listener);
		this.#follow(name);
		return this;
	}

	/** Takes a listener off again. */
	off(name, listener) {
		checkListener('off', name, listener);
		this.#events.off(name, listener);
		return this;
	}

	#checkFollows(name) {
		if (!isOfLog(name)) return;
		this.#file('on', {});
		if (!this.isReplica && this.#isOfWorkspace()) this.#checkReplica();
	}

	get #isLogHeard() {
		return this.#events.listenerCount('change') + this.#events.listenerCount('conflict') > 0;
	}

	/** Ends to look into the log if nobody listens any more. */
	#endUnheard() {
		if (this.#isLogHeard) return;
		this.#endLogEvents?.();
		this.#endLogEvents = undefined;
	}

	/** Begins to look into the log, if somebody listens to what comes out of it; a plain database has none yet. */
	#follow(name) {
		if (!isOfLog(name)) return;
		if (this.#isLogHeard && this.#endLogEvents === undefined && this.isReplica) {
			const events = new LogEvents(this.#database, this.#events);
			const stop = this.#liveOf(this.#file('on', {})).follow(() => events.look());
			this.#endLogEvents = () => {
				events.end();
				stop();
			};
		}
	}

	#liveOf(file) {
		const { addon } = this.#inner;
		this.#live ??= new Live(this.#database, this.#inner, mailboxOf(addon), file);
		return this.#live;
	}

	/** Ends live queries and the events of the log: the connection is about to be another one, or closed. */
	#end() {
		this.#endLogEvents?.();
		this.#endLogEvents = undefined;
		this.#live?.end();
	}

	#rows(sql) {
		this.#checkReplica();
		return this.#database.prepare(sql).safeIntegers(false).all();
	}

	/** Returns the database's file, which must be there and fit for the method. */
	#file(method, { isReplica }) {
		const { addon, handle } = this.#inner;
		const file = addon.fileOf(handle);
		if (file === '') throw new TypeError(`db.kith.${method} needs a database in a file; open it with a path`);
		if (isReplica !== undefined && this.#database.readonly) {
			throw new TypeError(`db.kith.${method} needs a database that can be written to; open it without "readonly"`);
		}
		if (isReplica) this.#checkReplica();
		return file;
	}

	/** Tells whether the file belongs to a workspace, also where it is open as plain SQLite. */
	#isOfWorkspace() {
		const read = (sql) => this.#database.prepare(sql).pluck().safeIntegers(false).get();
		return read("SELECT count(*) FROM main.sqlite_schema WHERE type = 'table' AND name = 'kith__meta'") > 0
			&& read("SELECT count(*) FROM main.kith__meta WHERE name = 'workspace'") > 0;
	}

	#checkReplica() {
		if (!this.isReplica && this.#database.open) {
			if (this.#isOfWorkspace()) {
				throw new TypeError('The database belongs to a workspace, but was opened to be read, as plain SQLite; open it without "readonly"');
			}
			throw new TypeError('The database belongs to no workspace yet; call db.kith.init({ name }) or db.kith.join(ticket, { name }) first');
		}
	}

	#value(sql, given) {
		this.#checkReplica();
		return this.#database.prepare(sql).pluck().get(...given);
	}
}

/** Has an error's remedy name options of ours, not the command's. */
function inOurWords(error) {
	error.message = error.message.replace(/`--merge-by-key`/, 'the option "mergeByKey"').replace(/`--name`/, 'the option "name"');
	return error;
}

/** Tells whether an error is about a table that is not there, as those of a workspace are until the first sync. */
function isMissingTable(error) {
	return error.code === 'SQLITE_ERROR' && error.message.startsWith('no such table: ');
}

module.exports = Kith;
