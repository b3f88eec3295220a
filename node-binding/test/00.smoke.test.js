'use strict';
// A first look: the package loads, databases in memory and in files work, plain and KithDB's, and a synced table is written and read.
const { describe, it } = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const Database = require('..');
const { runProgram } = require('./support');

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'kithdb-smoke-'));
process.on('exit', () => fs.rmSync(folder, { recursive: true, force: true }));

function writeAndRead(db) {
	db.exec('CREATE TABLE notes(id INTEGER PRIMARY KEY, body TEXT NOT NULL, data BLOB)');
	const insert = db.prepare('INSERT INTO notes(body, data) VALUES(?, ?)');
	assert.deepStrictEqual(insert.run('one', Buffer.from([1])), { changes: 1, lastInsertRowid: 1 });
	db.transaction(() => insert.run('two', null))();
	assert.throws(() => db.transaction(() => {
		insert.run('three', null);
		throw new RangeError('no');
	})(), RangeError);
	assert.deepStrictEqual(db.prepare('SELECT * FROM notes').all(), [
		{ id: 1, body: 'one', data: Buffer.from([1]) },
		{ id: 2, body: 'two', data: null },
	]);
}

describe('plain databases', () => {
	it('in memory', () => {
		const db = new Database(':memory:');
		writeAndRead(db);
		assert.equal(db.kith.isReplica, false);
		assert.throws(() => db.kith.sync('notes'), /belongs to no workspace yet; call db\.kith\.init/);
	});

	it('in files', () => {
		const file = path.join(folder, 'plain.db');
		const db = new Database(file);
		writeAndRead(db);
		db.close();
		const again = new Database(file, { readonly: true });
		assert.equal(again.prepare('SELECT count(*) FROM notes').pluck().get(), 2);
		again.close();
	});

	it('are the same module for import', async () => {
		const imported = await import('../lib/index.mjs');
		assert.equal(imported.default, Database);
		assert.equal(imported.SqliteError, Database.SqliteError);
	});
});

describe('what SQLite is compiled with, unlike the original\'s', () => {
	it('matches blobs with LIKE', () => {
		assert.equal(new Database(':memory:').prepare("SELECT x'6162' LIKE 'a%'").pluck().get(), 1);
	});

	it('has no UPDATE and DELETE with a LIMIT', () => {
		const db = new Database(':memory:').exec('CREATE TABLE t(a)');
		for (const sql of ['UPDATE t SET a = 1 LIMIT 1', 'DELETE FROM t LIMIT 1']) {
			assert.throws(() => db.prepare(sql), { code: 'SQLITE_ERROR', message: 'near "LIMIT": syntax error' });
		}
	});
});

// The original resolves where nothing could be copied.
describe('a backup to a file that is locked', () => {
	const locked = (name) => {
		const file = path.join(folder, name);
		const holder = new Database(file).exec('CREATE TABLE old(a); BEGIN EXCLUSIVE');
		return { file, holder, db: new Database(':memory:').exec('CREATE TABLE t(a); INSERT INTO t VALUES(7)') };
	};

	it('is made once the file is free, and the program goes on meanwhile', async () => {
		const { file, holder, db } = locked('busy.db');
		const made = db.backup(file);
		setTimeout(() => holder.exec('ROLLBACK').close(), 20);
		assert.ok((await made).totalPages > 0);
		assert.equal(new Database(file).prepare('SELECT a FROM t').pluck().get(), 7);
	});

	it('is given up after some seconds', async (t) => {
		const { file, holder, db } = locked('locked.db');
		let now = 0;
		t.mock.method(performance, 'now', () => (now += 1000));
		await assert.rejects(db.backup(file), { name: 'SqliteError', code: 'SQLITE_BUSY', message: 'database is locked' });
		assert.ok(now > 5000);
		holder.close();
	});
});

describe('replicas', () => {
	for (const name of [':memory:', path.join(folder, 'replica.db')]) {
		it(`${path.basename(name)} record the writes to synced tables`, () => {
			const db = new Database(name);
			assert.equal(db.kith.init({ name: 'smoke' }), db);
			assert.equal(db.kith.isReplica, true);
			writeAndRead(db);
			const pending = db.prepare('SELECT count(*) FROM kith__pending').pluck();
			db.kith.sync('notes');
			const before = pending.get();
			const insert = db.prepare('INSERT INTO notes(body) VALUES(?)');
			assert.deepStrictEqual(insert.run('three'), { changes: 1, lastInsertRowid: 3 });
			assert.ok(pending.get() > before, 'the write was recorded');
			const status = db.kith.status();
			assert.equal(status.tables[0].table_name ?? status.tables[0].name, 'notes');
			assert.equal(status.members[0].device, 'smoke');
			db.close();
		});
	}

	it('are replicas when they are opened again, with the same words for what they refuse', () => {
		const db = new Database(path.join(folder, 'replica.db'));
		assert.equal(db.kith.isReplica, true);
		assert.throws(() => db.exec('DROP TABLE notes'), (error) => {
			assert.ok(error instanceof Database.SqliteError);
			assert.equal(error.code, 'SQLITE_AUTH');
			assert.match(error.message, /notes is synced and cannot be dropped/);
			return true;
		});
		assert.equal(db.prepare('UPDATE notes SET body = ? WHERE id = 3').run('3').changes, 1);
		assert.equal(db.prepare('SELECT body FROM notes WHERE id = 3').pluck().get(), '3');
		db.close();
	});

	it('made of a filled file keep its rows', () => {
		const db = new Database(path.join(folder, 'filled.db'));
		writeAndRead(db);
		const closed = db.prepare('SELECT 1');
		db.kith.init({ name: 'filled' });
		assert.throws(() => closed.get(), /not open/);
		db.transaction(() => db.exec("INSERT INTO notes(body) VALUES('three')"))();
		db.kith.sync('*');
		assert.equal(db.prepare('SELECT count(*) FROM notes').pluck().get(), 3);
		db.close();
	});
});

describe('parameters', () => {
	it('cannot be bound for good while the same statement is given others', () => {
		const db = new Database(':memory:');
		const statement = db.prepare('SELECT @a AS a, @b AS b');
		let thrown;
		const given = {
			get a() {
				try {
					statement.bind({ a: 1, b: 2 });
				} catch (error) {
					thrown = error;
				}
				return 1;
			},
			b: 'lent text',
		};
		assert.deepEqual(statement.all(given), [{ a: 1, b: 'lent text' }]);
		assert.match(thrown.message, /busy/);
		assert.deepEqual(statement.all({ a: 3, b: 4 }), [{ a: 3, b: 4 }]);
	});
});

describe('a statement', () => {
	it('keeps its database, also where something stood in for it', () => {
		const { status, stdout, stderr } = runProgram(`
			let current = new Database(':memory:');
			current.exec("CREATE TABLE kept(a); INSERT INTO kept VALUES('still there')");
			const standIn = new Proxy({}, { get: (_, key) => current[key] });
			const statement = standIn.prepare('SELECT a FROM kept').pluck();
			current = new Database(':memory:');
			(async () => {
				for (let i = 0; i < 30; ++i) {
					gc();
					await new Promise((resolve) => setTimeout(resolve, 1));
					Array.from({ length: 100 }, () => current.prepare('SELECT 1'));
				}
				console.log(statement.get());
			})();
		`, { args: ['--expose-gc'] });
		assert.equal(status, 0, stderr);
		assert.equal(stdout.trim(), 'still there');
	});
});
