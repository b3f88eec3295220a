'use strict';
const { describe, it } = require('node:test');
const assert = require('node:assert/strict');
const { sqlite, DatabaseSync, IS_OURS, freshPath, memory, letters, row, get, throws, throwsType, throwsValue, throwsState, throwsSqlite } = require('./node-sqlite-support');

const {
	SQLITE_CHANGESET_OMIT, SQLITE_CHANGESET_REPLACE, SQLITE_CHANGESET_ABORT, SQLITE_CHANGESET_DATA, SQLITE_CHANGESET_NOTFOUND,
	SQLITE_CHANGESET_CONFLICT, SQLITE_CHANGESET_CONSTRAINT, SQLITE_CHANGESET_FOREIGN_KEY,
} = sqlite.constants;

const SCHEMA = 'CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT UNIQUE CHECK(v <> \'bad\')); CREATE TABLE u(id INTEGER PRIMARY KEY, v)';
const all = (db, table = 't') => db.prepare(`SELECT * FROM ${table} ORDER BY id`).all();

// A database whose tables are synced.
function synced(sql, options) {
	const db = options === undefined ? new DatabaseSync(':memory:') : new DatabaseSync(':memory:', options);
	db.kith.init({ name: 'laptop' });
	db.exec(sql);
	db.exec("SELECT kith_sync('*')");
	assert.deepEqual(db.kith.status().tables.map(({ state }) => state), [...sql.matchAll(/CREATE TABLE/g)].map(() => 'synced'));
	return db;
}

// The original knows plain tables only.
for (const [kind, create] of IS_OURS ? [['plain', memory], ['synced', synced]] : [['plain', memory]]) {
	const base = (sql = '') => {
		const db = create(SCHEMA);
		db.exec(sql);
		return db;
	};

	// The changes that a text of SQL makes to a database.
	function changesOf(sql, before = '', kind = 'changeset', options = undefined) {
		const db = base(before);
		const session = options === undefined ? db.createSession() : db.createSession(options);
		db.exec(sql);
		return session[kind]();
	}

	describe(`createSession() with ${kind} tables`, () => {
		it('records what is changed from then on', () => {
			const db = base("INSERT INTO t VALUES(1, 'before')");
			const session = db.createSession();
			assert.equal(session instanceof sqlite.Session, true);
			assert.deepEqual(session.changeset(), new Uint8Array(0));
			db.exec("INSERT INTO t VALUES(2, 'two')");
			const changeset = session.changeset();
			assert.equal(Object.getPrototypeOf(changeset), Uint8Array.prototype);
			const target = base();
			assert.equal(target.applyChangeset(changeset), true);
			assert.deepEqual(all(target), [row({ id: 2, v: 'two' })]);
			// It goes on recording.
			db.exec("INSERT INTO t VALUES(3, 'three')");
			const later = base();
			later.applyChangeset(session.changeset());
			assert.equal(all(later).length, 2);
		});

		it('makes patchsets too, which are smaller', () => {
			const before = "INSERT INTO t VALUES(1, 'a long text that was there before')";
			const [change, patch] = ['changeset', 'patchset'].map((kind) => changesOf("UPDATE t SET v = 'new'", before, kind));
			assert.equal(patch.length < change.length, true);
			for (const bytes of [change, patch]) {
				const target = base(before);
				assert.equal(target.applyChangeset(bytes), true);
				assert.deepEqual(all(target), [row({ id: 1, v: 'new' })]);
			}
		});

		it('records one table, or another database', () => {
			const sql = "INSERT INTO t VALUES(1, 'x'); INSERT INTO u VALUES(1, 'x')";
			const target = base();
			target.applyChangeset(changesOf(sql, '', 'changeset', { table: 'u' }));
			assert.deepEqual([all(target).length, all(target, 'u').length], [0, 1]);

			const db = base("ATTACH ':memory:' AS other; CREATE TABLE other.u(id INTEGER PRIMARY KEY, v)");
			const session = db.createSession({ db: 'other' });
			db.exec("INSERT INTO main.u VALUES(1, 'main'); INSERT INTO other.u VALUES(2, 'other')");
			target.exec('DELETE FROM u');
			target.applyChangeset(session.changeset());
			assert.deepEqual(all(target, 'u'), [row({ id: 2, v: 'other' })]);
		});

		it('checks its arguments', () => {
			for (const options of [undefined, null, 5]) throwsType(() => base().createSession(options), 'The "options" argument must be an object.');
			for (const name of ['table', 'db']) throwsType(() => base().createSession({ [name]: 5 }), `The "options.${name}" argument must be a string.`);
			throws(() => new sqlite.Session(), Error, 'ERR_ILLEGAL_CONSTRUCTOR', 'Illegal constructor');
		});

		it('ends with close(), gently with dispose()', () => {
			const session = base().createSession();
			assert.equal(session.close(), undefined);
			for (const call of [() => session.changeset(), () => session.patchset(), () => session.close()]) throwsState(call, 'session is not open');
			assert.equal(session[Symbol.dispose](), undefined);
			const other = base().createSession();
			assert.equal(other[Symbol.dispose](), undefined);
			throwsState(() => other.changeset(), 'session is not open');
		});

		it('ends with its database', () => {
			const db = base();
			const session = db.createSession();
			db.close();
			for (const call of [() => session.changeset(), () => session.patchset(), () => session.close()]) throwsState(call, 'database is not open');
			assert.equal(session[Symbol.dispose](), undefined);
			db.open();
			throwsState(() => session.changeset(), 'session is not open');
		});

		it('can be one of several', () => {
			const db = base();
			const first = db.createSession();
			db.exec("INSERT INTO t VALUES(1, 'one')");
			const second = db.createSession();
			db.exec("INSERT INTO t VALUES(2, 'two')");
			const counts = [first, second].map((session) => {
				const target = base();
				target.applyChangeset(session.changeset());
				return all(target).length;
			});
			assert.deepEqual(counts, [2, 1]);
		});
	});

	describe(`applyChangeset() with ${kind} tables`, () => {
		const conflict = (sql, before, there) => (onConflict, options = {}) => {
			const target = base(there);
			const kinds = [];
			const handler = (...given) => {
				kinds.push(...given);
				return onConflict;
			};
			const outcome = target.applyChangeset(changesOf(sql, before), { onConflict: handler, ...options });
			return { outcome, kinds, rows: all(target) };
		};
		const inserted = conflict("INSERT INTO t VALUES(1, 'one'), (2, 'two')", '', "INSERT INTO t VALUES(1, 'there')");
		const [there, one, two] = [row({ id: 1, v: 'there' }), row({ id: 1, v: 'one' }), row({ id: 2, v: 'two' })];

		it('asks about a key that is there', () => {
			assert.deepEqual(inserted(SQLITE_CHANGESET_OMIT), { outcome: true, kinds: [SQLITE_CHANGESET_CONFLICT], rows: [there, two] });
			assert.deepEqual(inserted(SQLITE_CHANGESET_REPLACE), { outcome: true, kinds: [SQLITE_CHANGESET_CONFLICT], rows: [one, two] });
			assert.deepEqual(inserted(SQLITE_CHANGESET_ABORT), { outcome: false, kinds: [SQLITE_CHANGESET_CONFLICT], rows: [there] });
		});

		it('asks about other values, a row that is gone, and constraints', () => {
			const updated = conflict("UPDATE t SET v = 'new'", "INSERT INTO t VALUES(1, 'old')", "INSERT INTO t VALUES(1, 'there')");
			assert.deepEqual(updated(SQLITE_CHANGESET_OMIT), { outcome: true, kinds: [SQLITE_CHANGESET_DATA], rows: [there] });
			assert.deepEqual(updated(SQLITE_CHANGESET_REPLACE).rows, [row({ id: 1, v: 'new' })]);
			const deleted = conflict('DELETE FROM t', "INSERT INTO t VALUES(1, 'old')", '');
			assert.deepEqual(deleted(SQLITE_CHANGESET_OMIT), { outcome: true, kinds: [SQLITE_CHANGESET_NOTFOUND], rows: [] });
			const unique = conflict("INSERT INTO t VALUES(2, 'there')", '', "INSERT INTO t VALUES(1, 'there')");
			assert.deepEqual(unique(SQLITE_CHANGESET_OMIT), { outcome: true, kinds: [SQLITE_CHANGESET_CONSTRAINT], rows: [there] });
		});

		it('asks about foreign keys once, before the commit', () => {
			const schema = 'CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE c(id INTEGER PRIMARY KEY, p REFERENCES p)';
			const source = create(schema, { enableForeignKeyConstraints: false });
			const session = source.createSession();
			source.exec('INSERT INTO c VALUES(1, 7), (2, 8)');
			const kinds = [];
			const target = create(schema);
			assert.equal(target.applyChangeset(session.changeset(), { onConflict: (kind) => { kinds.push(kind); return SQLITE_CHANGESET_OMIT; } }), true);
			assert.deepEqual(kinds, [SQLITE_CHANGESET_FOREIGN_KEY]);
			assert.equal(all(target, 'c').length, 2);
		});

		it('gives up at a conflict without a handler', () => {
			const target = base("INSERT INTO t VALUES(2, 'there')");
			assert.equal(target.applyChangeset(changesOf("INSERT INTO t VALUES(1, 'one'), (2, 'two')")), false);
			assert.deepEqual(all(target), [row({ id: 2, v: 'there' })]);
		});

		it('gives up, with an error, at an answer that is none', () => {
			for (const answer of [3, -1, 'x', undefined, null]) throwsSqlite(() => inserted(answer), 21, 'bad parameter or other API misuse');
		});

		it('applies changes to tables that are wanted', () => {
			const changeset = changesOf("INSERT INTO t VALUES(1, 'x'); INSERT INTO u VALUES(1, 'x')");
			const target = base();
			const seen = [];
			assert.equal(target.applyChangeset(changeset, { filter: (...given) => { seen.push(given); return given[0] === 'u'; } }), true);
			assert.deepEqual(seen.sort(), [['t'], ['u']]);
			assert.deepEqual([all(target).length, all(target, 'u').length], [0, 1]);
			for (const [wanted, count] of [[1, 1], ['x', 1], [0, 0], ['', 0], [undefined, 0], [null, 0]]) {
				const other = base();
				assert.equal(other.applyChangeset(changeset, { filter: () => wanted }), true);
				assert.equal(all(other).length, count);
			}
		});

		it('passes on what is thrown, and changes nothing', () => {
			const failure = new Error('no');
			const fail = () => { throw failure; };
			const changeset = changesOf("INSERT INTO t VALUES(1, 'one'), (2, 'two')");
			const target = base("INSERT INTO t VALUES(1, 'there')");
			for (const options of [{ filter: fail }, { onConflict: fail }]) {
				assert.throws(() => target.applyChangeset(changeset, options), (error) => error === failure);
				assert.deepEqual(all(target), [there]);
			}
			throwsState(() => target.applyChangeset(changeset, { filter: () => target.close() }), 'database cannot be closed while in a callback');
		});

		it('checks its arguments', () => {
			const changeset = changesOf("INSERT INTO t VALUES(1, 'one')");
			for (const given of [undefined, null, 5, 'x', new DataView(changeset.buffer), changeset.buffer]) {
				throwsType(() => base().applyChangeset(given), 'The "changeset" argument must be a Uint8Array.');
			}
			for (const options of [null, 5]) throwsType(() => base().applyChangeset(changeset, options), 'The "options" argument must be an object.');
			for (const name of ['filter', 'onConflict']) {
				for (const value of [null, 5]) throwsType(() => base().applyChangeset(changeset, { [name]: value }), `The "options.${name}" argument must be a function.`);
			}
			assert.equal(base().applyChangeset(changeset, undefined), true);
			assert.equal(base().applyChangeset(changeset, { onConflict: undefined }), true);
			assert.equal(base().applyChangeset(Buffer.from(changeset)), true);
			assert.equal(base().applyChangeset(new Uint8Array(0)), true);
			assert.equal(throws(() => base().applyChangeset(new Uint8Array([1, 2, 3])), Error, 'ERR_SQLITE_ERROR').errcode, 11);
		});
	});
}

describe('serialize()', () => {
	it('returns a database as the bytes of a file', () => {
		const bytes = letters().serialize();
		assert.equal(Object.getPrototypeOf(bytes), Uint8Array.prototype);
		assert.equal(Buffer.from(bytes.subarray(0, 15)).toString(), 'SQLite format 3');
		const db = memory("ATTACH ':memory:' AS other; CREATE TABLE other.t(x)");
		assert.equal(db.serialize('other').length > 0, true);
		assert.deepEqual(db.serialize(undefined), db.serialize('main'));
	});

	it('checks its argument', () => {
		for (const name of [null, 5, {}]) throwsType(() => memory().serialize(name), 'The "dbName" argument must be a string.');
		throws(() => memory().serialize('none'), Error, 'ERR_SQLITE_ERROR');
	});
});

describe('deserialize()', () => {
	it('puts a database from bytes in place of the present one; it can be written to', () => {
		const bytes = letters().serialize();
		const db = memory('CREATE TABLE other(x)');
		assert.equal(db.deserialize(bytes), undefined);
		assert.equal(get(db, 'SELECT count(*) AS n FROM letters').n, 4);
		throwsSqlite(() => db.prepare('SELECT * FROM other'), 1, 'no such table: other');
		for (let i = 10; i < 1000; i += 1) db.prepare('INSERT INTO letters VALUES(?, ?)').run(i, 'x'.repeat(100));
		assert.equal(get(db, 'SELECT count(*) AS n FROM letters').n, 994);
	});

	it('copies the bytes', () => {
		const bytes = letters().serialize();
		const db = memory();
		db.deserialize(bytes);
		bytes.fill(0);
		assert.equal(get(db, 'SELECT count(*) AS n FROM letters').n, 4);
	});

	it('puts it in place of an attached one', () => {
		const db = memory("ATTACH ':memory:' AS other");
		db.deserialize(letters().serialize(), { dbName: 'other' });
		assert.equal(get(db, 'SELECT count(*) AS n FROM other.letters').n, 4);
	});

	it('leaves the file of the connection as it is', () => {
		const file = freshPath();
		const db = new DatabaseSync(file);
		db.exec('CREATE TABLE kept(x)');
		db.deserialize(letters().serialize());
		assert.equal(db.location(), null);
		db.close();
		assert.equal(get(new DatabaseSync(file), 'SELECT name FROM sqlite_schema').name, 'kept');
	});

	it('finalizes the statements', () => {
		const db = letters();
		const statement = db.prepare('SELECT 1');
		db.deserialize(db.serialize());
		throwsState(() => statement.get(), 'statement has been finalized');
	});

	it('finds out about other bytes when they are read', () => {
		const db = memory();
		db.deserialize(new Uint8Array(10).fill(7));
		throwsSqlite(() => db.prepare('SELECT * FROM t'), 26, 'file is not a database', 'file is not a database');
	});

	it('checks its arguments', () => {
		const bytes = letters().serialize();
		for (const given of [undefined, null, 5, 'x', new DataView(bytes.buffer)]) throwsType(() => memory().deserialize(given), 'The "buffer" argument must be a Uint8Array.');
		throwsValue(() => memory().deserialize(new Uint8Array(0)), 'The "buffer" argument must not be empty.');
		for (const options of [null, 5]) throwsType(() => memory().deserialize(bytes, options), 'The "options" argument must be an object.');
		throwsType(() => memory().deserialize(bytes, { dbName: 5 }), 'The "options.dbName" argument must be a string.');
		throws(() => memory().deserialize(bytes, { dbName: 'none' }), Error, 'ERR_SQLITE_ERROR');
		memory().deserialize(Buffer.from(bytes), {});
	});
});
