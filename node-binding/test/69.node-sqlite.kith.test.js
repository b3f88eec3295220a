'use strict';
const { describe, it } = require('node:test');
const assert = require('node:assert/strict');
const { sqlite, DatabaseSync, IS_OURS, freshPath, memory, letters, row, get, throwsState, throwsSqlite, runProgram } = require('./node-sqlite-support');

describe('a program', () => {
	it('ends with a database open, a statement under way and a backup begun', () => {
		const result = runProgram(`
			const db = new sqlite.DatabaseSync(':memory:');
			db.exec('CREATE TABLE t(x); INSERT INTO t VALUES(1), (2)');
			const iterator = db.prepare('SELECT x FROM t').iterate();
			iterator.next();
			db.createSession();
			sqlite.backup(db, file).then((pages) => console.log(pages > 0));`, { file: freshPath() });
		assert.deepEqual([result.stdout.trim(), result.status, result.signal], ['true', 0, null], result.stderr);
	});

	it('may leave databases and statements to the collector', () => {
		const result = runProgram(`
			for (let i = 0; i < 300; i += 1) {
				const db = new sqlite.DatabaseSync(':memory:');
				db.exec('CREATE TABLE t(x); INSERT INTO t VALUES(1), (2)');
				db.createModule('m', { columns: [{ name: 'a', type: 'ANY' }], *rows() { yield [1]; yield [2]; } });
				db.function('f', (x) => x);
				db.prepare('SELECT f(a) FROM m').iterate().next();
				db.createSession();
				if (i % 50 === 0) gc();
			}
			setTimeout(() => { gc(); console.log('done'); }, 10);`, { args: ['--expose-gc'] });
		assert.deepEqual([result.stdout.trim(), result.status, result.signal], ['done', 0, null], result.stderr);
	});

	it('may import the module by name', () => {
		const specifier = IS_OURS ? require('node:url').pathToFileURL(require.resolve('../lib/node-sqlite/index.mjs')).href : 'node:sqlite';
		const result = runProgram(`
			import(${JSON.stringify(specifier)}).then(({ default: whole, DatabaseSync, StatementSync, Session, backup, constants }) => {
				console.log([DatabaseSync, StatementSync, Session, backup, constants].every(Boolean), whole.DatabaseSync === DatabaseSync);
			});`);
		assert.equal(result.stdout.trim(), 'true true', result.stderr);
	});

	it('has a database per worker', () => {
		const result = runProgram(`
			const { Worker } = require('node:worker_threads');
			const source = 'const { parentPort, workerData } = require("node:worker_threads"); const { DatabaseSync } = require(workerData);'
				+ 'const db = new DatabaseSync(":memory:"); parentPort.postMessage(db.prepare("SELECT 6 * 7 AS n").get().n);';
			let left = 4;
			for (let i = 0; i < 4; i += 1) {
				const worker = new Worker(source, { eval: true, workerData: ${JSON.stringify(require.resolve('./node-sqlite-subject'))} });
				worker.on('message', (n) => { console.log(n); });
			}`);
		assert.deepEqual([result.stdout.trim().split('\n'), result.status], [['42', '42', '42', '42'], 0], result.stderr);
	});
});

// The original has no such thing.
if (IS_OURS) {
	describe('db.kith', () => {
		const SCHEMA = 'CREATE TABLE notes(id TEXT PRIMARY KEY, body TEXT, done INT)';
		const replica = (options) => {
			const file = freshPath();
			const db = options === undefined ? new DatabaseSync(file) : new DatabaseSync(file, options);
			assert.equal(db.kith.init({ name: 'laptop' }), db);
			db.exec(SCHEMA);
			db.kith.sync('notes');
			return { db, file };
		};
		// How many transactions wait to be sent.
		const recorded = (db) => get(db, 'SELECT count(*) AS n FROM kith__pending').n;

		it('is out of sight, and belongs to an open database', () => {
			const db = memory();
			assert.equal(Object.keys(db).includes('kith'), false);
			assert.equal(db.kith, db.kith);
			assert.equal(db.kith.isReplica, false);
			assert.equal(db.kith.status().replica, false);
			db.close();
			throwsState(() => db.kith, 'database is not open');
		});

		it('has tables synced, on which everything works as on plain ones', () => {
			const { db, file } = replica();
			const insert = db.prepare('INSERT INTO notes VALUES(?, $body, ?)');
			assert.deepEqual(insert.run({ body: 'buy milk' }, 'milk', false), { changes: 1, lastInsertRowid: 1 });
			assert.deepEqual(insert.run({ body: 'rye bread' }, 'rye', false), { changes: 1, lastInsertRowid: 2 });
			assert.deepEqual(db.prepare("UPDATE notes SET done = ? WHERE id = 'milk'").run(true), { changes: 1, lastInsertRowid: 2 });
			assert.deepEqual(get(db, 'SELECT * FROM notes WHERE id = ?', 'milk'), row({ id: 'milk', body: 'buy milk', done: 1 }));
			assert.deepEqual([...db.prepare('SELECT id FROM notes ORDER BY id').iterate()].map(({ id }) => id), ['milk', 'rye']);
			throwsSqlite(() => insert.run('milk'), 1555, 'UNIQUE constraint failed: notes.id', 'constraint failed');
			db.exec("BEGIN; DELETE FROM notes; ROLLBACK; DELETE FROM notes WHERE id = 'rye'");
			assert.equal(get(db, 'SELECT count(*) AS n FROM notes').n, 1);
			assert.equal(db.kith.isReplica, true);
			assert.deepEqual(db.kith.status().tables.map(({ name }) => name), ['notes']);
			assert.equal(recorded(db), 4);
			db.close();

			// Opened again, by a path or an address, it is the same replica.
			for (const name of [file, `file:${file}`]) {
				const again = new DatabaseSync(name);
				assert.equal(again.kith.isReplica, true);
				assert.equal(get(again, 'SELECT body FROM notes').body, 'buy milk');
				again.close();
			}
		});

		it('keeps what the database was opened with', () => {
			const { db } = replica({ enableForeignKeyConstraints: false, enableDoubleQuotedStringLiterals: true, limits: { attach: 3 }, returnArrays: true });
			assert.deepEqual(get(db, 'PRAGMA foreign_keys'), [0]);
			assert.deepEqual(get(db, 'SELECT "text"'), ['text']);
			assert.equal(db.limits.attach, 3);
		});

		it('finalizes the statements when a workspace is founded', () => {
			const db = new DatabaseSync(freshPath());
			const statement = db.prepare('SELECT 1');
			const iterator = db.prepare('SELECT 1 UNION SELECT 2').iterate();
			iterator.next();
			const store = db.createTagStore();
			store.get`SELECT 1 AS n`;
			db.setAuthorizer((action) => (action === sqlite.constants.SQLITE_DELETE ? sqlite.constants.SQLITE_DENY : sqlite.constants.SQLITE_OK));
			db.kith.init({ name: 'laptop' });
			throwsState(() => statement.get(), 'statement has been finalized');
			throwsState(() => iterator.next(), 'statement has been finalized');
			assert.deepEqual(store.get`SELECT 1 AS n`, row({ n: 1 }));
			db.exec(SCHEMA);
			throwsSqlite(() => db.exec('DELETE FROM notes'), 23, 'not authorized');
		});

		it('asks an authorizer of the program\'s about its statements only', () => {
			const { db } = replica();
			const seen = [];
			db.setAuthorizer((action, first) => {
				seen.push(first);
				return action === sqlite.constants.SQLITE_DELETE ? sqlite.constants.SQLITE_DENY : sqlite.constants.SQLITE_OK;
			});
			db.exec("INSERT INTO notes VALUES('a', 'b', 0)");
			assert.deepEqual(seen, ['notes']);
			throwsSqlite(() => db.exec('DELETE FROM notes'), 23, 'not authorized');
			throwsSqlite(() => db.exec('ALTER TABLE notes ADD COLUMN more'), 23, /notes is synced and cannot be altered/);
			db.setAuthorizer(null);
			db.exec('DELETE FROM notes');
		});

		it('has sessions, whose changesets are SQLite\'s byte for byte', () => {
			const program = `
				BEGIN; INSERT INTO notes VALUES('milk', 'buy milk', 0), ('rye', 'rye bread', NULL), ('gone', x'00ff', 1.5); COMMIT;
				UPDATE notes SET body = 'two of milk' WHERE id = 'milk';
				UPDATE notes SET id = 'bread' WHERE id = 'rye';
				SAVEPOINT s; DELETE FROM notes; ROLLBACK TO s; RELEASE s;
				DELETE FROM notes WHERE id = 'gone';
				INSERT INTO loose VALUES(2, 'b', 1), (1, 'a', 2);
				INSERT INTO temp.passing VALUES(1);
				UPDATE before SET v = v + 1 WHERE id > 1; DELETE FROM before WHERE id = 1`;
			const tables = 'CREATE TABLE loose(y, x, n, PRIMARY KEY(x, y)) WITHOUT ROWID; CREATE TEMP TABLE passing(id INTEGER PRIMARY KEY);'
				+ 'CREATE TABLE before(id INTEGER PRIMARY KEY, v); INSERT INTO before VALUES(1, 1), (2, 2), (3, 3)';
			const { db } = replica();
			const [ours, sqlites] = [db, memory(SCHEMA)].map((on) => {
				on.exec(tables);
				const sessions = [undefined, { table: 'NOTES' }, { db: 'temp' }].map((options) => (options ? on.createSession(options) : on.createSession()));
				on.exec(program);
				return sessions.flatMap((session) => [session.changeset(), session.patchset()]);
			});
			assert.deepEqual(ours, sqlites);
			assert.equal(ours.every((bytes) => bytes.length > 0), true);
			// What SQLite makes of them.
			const copy = memory(SCHEMA);
			copy.exec(tables);
			assert.equal(copy.applyChangeset(ours[0]), true);
			for (const table of ['notes', 'loose', 'before']) {
				const rows = (on) => on.prepare(`SELECT * FROM ${table} ORDER BY 1, 2`).all();
				assert.deepEqual(rows(copy), rows(db));
			}
		});

		it('records in a session, and for the others, what a changeset changes', () => {
			const { db } = replica();
			const source = memory(SCHEMA);
			const session = source.createSession();
			source.exec("INSERT INTO notes VALUES('milk', 'buy milk', 0)");
			const recording = db.createSession();
			assert.equal(db.applyChangeset(session.changeset()), true);
			assert.equal(get(db, 'SELECT body FROM notes').body, 'buy milk');
			assert.equal(recorded(db), 1);
			assert.deepEqual(recording.changeset(), session.changeset());
			// A changeset cannot write where SQL cannot.
			const intruder = memory('CREATE TABLE kith__meta(name TEXT PRIMARY KEY, value BLOB)');
			const forged = intruder.createSession();
			intruder.exec("INSERT INTO kith__meta VALUES('mine', 1)");
			throwsSqlite(() => db.applyChangeset(forged.changeset()), 23, /kith__meta belongs to KithDB/);
		});

		it('does without a session that was forgotten, and ends those of a database that is closed', () => {
			const { db } = replica();
			for (let i = 0; i < 50; i += 1) db.createSession();
			const session = db.createSession();
			db.exec("INSERT INTO notes VALUES('milk', 'buy milk', 0)");
			assert.equal(session.changeset().length > 0, true);
			db.close();
			throwsState(() => session.changeset(), 'database is not open');
			db.open();
			throwsState(() => session.changeset(), 'session is not open');
			const again = db.createSession();
			assert.equal(again.changeset().length, 0);
		});

		it('does not let a synced database be replaced', () => {
			const { db } = replica();
			throwsSqlite(() => db.deserialize(letters().serialize()), 1, /belongs to a workspace cannot be replaced/);
			assert.equal(get(db, 'SELECT count(*) AS n FROM notes').n, 0);
		});

		it('is backed up as a plain file', async () => {
			const { db } = replica();
			db.exec("INSERT INTO notes VALUES('milk', 'buy milk', 0)");
			const file = freshPath();
			await sqlite.backup(db, file);
			assert.equal(get(new DatabaseSync(file, { readOnly: true }), 'SELECT body FROM notes').body, 'buy milk');
		});
	});
}
