'use strict';
const { describe, it } = require('node:test');
const assert = require('node:assert/strict');
const { Database, freshPath, memory, filled, throws, throwsSqlite, throwsValue, BUSY } = require('./support');

describe('run(): the info object', () => {
	it('is a plain object of changes and lastInsertRowid', () => {
		const info = memory('CREATE TABLE a (b)').prepare('INSERT INTO a VALUES (1)').run();
		assert.deepEqual(info, { changes: 1, lastInsertRowid: 1 });
		assert.equal(Object.getPrototypeOf(info), Object.prototype);
		assert.deepEqual(Object.keys(info), ['changes', 'lastInsertRowid']);
	});

	it('counts the rows that an INSERT, an UPDATE and a DELETE touched', () => {
		const db = memory('CREATE TABLE a (b)');
		assert.deepEqual(db.prepare('INSERT INTO a VALUES (1), (2), (3)').run(), { changes: 3, lastInsertRowid: 3 });
		assert.equal(db.prepare('UPDATE a SET b = 9 WHERE b > 1').run().changes, 2);
		assert.equal(db.prepare('UPDATE a SET b = b').run().changes, 3);
		assert.equal(db.prepare('DELETE FROM a WHERE b = 9').run().changes, 2);
		assert.equal(db.prepare('DELETE FROM a').run().changes, 1);
	});

	it('counts nothing for a statement that touched no row', () => {
		const db = memory('CREATE TABLE a (b)');
		db.exec('INSERT INTO a VALUES (1), (2)');
		assert.equal(db.prepare('DELETE FROM a WHERE b = 5').run().changes, 0);
		assert.equal(db.prepare('UPDATE a SET b = 1 WHERE b = 5').run().changes, 0);
		assert.equal(db.prepare('INSERT INTO a SELECT 1 WHERE 0').run().changes, 0);
	});

	it('counts nothing for schema changes, transactions and pragmas, also right after an insert', () => {
		const db = memory('CREATE TABLE a (b)');
		const insert = db.prepare('INSERT INTO a VALUES (1)');
		for (const sql of ['CREATE TABLE c (d)', 'DROP TABLE c', 'CREATE INDEX i ON a (b)', 'BEGIN', 'COMMIT', 'SAVEPOINT s', 'RELEASE s', 'PRAGMA user_version = 3', 'VACUUM', 'ANALYZE']) {
			assert.equal(insert.run().changes, 1);
			assert.equal(db.prepare(sql).run().changes, 0, sql);
		}
	});

	it('does not count what triggers and foreign key actions did', () => {
		const db = memory(`
			CREATE TABLE a (b INTEGER PRIMARY KEY); CREATE TABLE c (d REFERENCES a(b) ON DELETE CASCADE); CREATE TABLE log (e);
			CREATE TRIGGER t AFTER INSERT ON a BEGIN INSERT INTO log VALUES (1), (2), (3); END;
		`);
		assert.deepEqual(db.prepare('INSERT INTO a VALUES (50)').run(), { changes: 1, lastInsertRowid: 50 });
		db.exec('INSERT INTO c VALUES (50), (50)');
		assert.equal(db.prepare('DELETE FROM a').run().changes, 1);
		assert.equal(db.prepare('SELECT count(*) FROM c').pluck().get(), 0);
		assert.equal(db.prepare('SELECT count(*) FROM log').pluck().get(), 3);
	});

	it('counts rows that REPLACE put in place and not those it removed', () => {
		const db = memory('CREATE TABLE a (b PRIMARY KEY, c UNIQUE); INSERT INTO a VALUES (1, 1), (2, 2)');
		assert.equal(db.prepare('REPLACE INTO a VALUES (1, 2)').run().changes, 1);
		assert.deepEqual(db.prepare('SELECT * FROM a').all(), [{ b: 1, c: 2 }]);
	});

	it('counts what INSERT OR IGNORE and upserts really did', () => {
		const db = memory('CREATE TABLE a (b PRIMARY KEY, c DEFAULT 0); INSERT INTO a VALUES (1, 0)');
		assert.equal(db.prepare('INSERT OR IGNORE INTO a (b) VALUES (1), (2)').run().changes, 1);
		assert.equal(db.prepare('INSERT INTO a (b) VALUES (1), (3) ON CONFLICT DO UPDATE SET c = c + 1').run().changes, 2);
		assert.equal(db.prepare('INSERT INTO a (b) VALUES (1) ON CONFLICT DO NOTHING').run().changes, 0);
	});

	it('counts again for every run', () => {
		const insert = memory('CREATE TABLE a (b)').prepare('INSERT INTO a VALUES (?)');
		for (let i = 1; i <= 20; ++i) assert.deepEqual(insert.run(i), { changes: 1, lastInsertRowid: i });
	});

	it('gives the rowid that an INTEGER PRIMARY KEY was given', () => {
		const db = memory('CREATE TABLE a (id INTEGER PRIMARY KEY, b)');
		const insert = db.prepare('INSERT INTO a VALUES (?, ?)');
		assert.equal(insert.run(100, 'x').lastInsertRowid, 100);
		assert.equal(insert.run(null, 'x').lastInsertRowid, 101);
		assert.equal(insert.run(-7, 'x').lastInsertRowid, -7);
		assert.equal(insert.run(0, 'x').lastInsertRowid, 0);
	});

	it('ignores in lastInsertRowid what triggers inserted', () => {
		const db = memory('CREATE TABLE a (b); CREATE TABLE log (id INTEGER PRIMARY KEY, c); CREATE TRIGGER t AFTER INSERT ON a BEGIN INSERT INTO log VALUES (1000, 1); END');
		assert.equal(db.prepare('INSERT INTO a VALUES (1)').run().lastInsertRowid, 1);
	});

	it('keeps the last rowid of the connection for statements that insert nothing', () => {
		const db = memory('CREATE TABLE a (b)');
		db.prepare('INSERT INTO a VALUES (1), (2)').run();
		assert.equal(db.prepare('UPDATE a SET b = 5').run().lastInsertRowid, 2);
		assert.equal(db.prepare('CREATE TABLE c (d)').run().lastInsertRowid, 2);
	});

	it('gives lastInsertRowid as a number, rounded when it is too large, and exactly with safe integers', () => {
		const db = memory('CREATE TABLE a (id INTEGER PRIMARY KEY)');
		const insert = db.prepare('INSERT INTO a VALUES (?)');
		assert.equal(insert.run(9223372036854775807n).lastInsertRowid, 9223372036854775807);
		insert.safeIntegers();
		assert.deepEqual(insert.run(9223372036854775806n), { changes: 1, lastInsertRowid: 9223372036854775806n });
		assert.deepEqual(insert.run(-9223372036854775808n), { changes: 1, lastInsertRowid: -9223372036854775808n });
	});

	it('works for tables WITHOUT ROWID', () => {
		const db = memory('CREATE TABLE a (b PRIMARY KEY) WITHOUT ROWID');
		assert.equal(db.prepare('INSERT INTO a VALUES (1), (2)').run().changes, 2);
	});
});

describe('run(): statements that return data', () => {
	it('runs a SELECT for nothing', () => {
		assert.deepEqual(memory().prepare('SELECT 1').run(), { changes: 0, lastInsertRowid: 0 });
	});

	it('stops a SELECT at its first row', () => {
		const db = memory();
		let calls = 0;
		db.function('seen', (x) => { calls += 1; return x; });
		db.prepare('SELECT seen(value) FROM json_each(?)').run('[1, 2, 3]');
		assert.equal(calls, 1);
	});

	it('runs INSERT ... RETURNING for its effect', () => {
		const db = memory('CREATE TABLE a (b)');
		assert.deepEqual(db.prepare('INSERT INTO a VALUES (1), (2) RETURNING b').run(), { changes: 2, lastInsertRowid: 2 });
		assert.equal(db.prepare('SELECT count(*) FROM a').pluck().get(), 2);
	});

	it('runs a pragma', () => {
		const db = memory();
		db.prepare('PRAGMA user_version = 5').run();
		assert.equal(db.pragma('user_version', { simple: true }), 5);
	});
});

describe('run(): errors', () => {
	for (const [sql, code, message] of [
		['INSERT INTO a (id) VALUES (1)', 'SQLITE_CONSTRAINT_PRIMARYKEY', 'UNIQUE constraint failed: a.id'],
		["INSERT INTO a (u) VALUES ('taken')", 'SQLITE_CONSTRAINT_UNIQUE', 'UNIQUE constraint failed: a.u'],
		['INSERT INTO a (n) VALUES (NULL)', 'SQLITE_CONSTRAINT_NOTNULL', 'NOT NULL constraint failed: a.n'],
		['INSERT INTO a (c) VALUES (-1)', 'SQLITE_CONSTRAINT_CHECK', 'CHECK constraint failed: c > 0'],
		['INSERT INTO a (d) VALUES (-1)', 'SQLITE_CONSTRAINT_CHECK', 'CHECK constraint failed: positive'],
		['INSERT INTO a (f) VALUES (99)', 'SQLITE_CONSTRAINT_FOREIGNKEY', 'FOREIGN KEY constraint failed'],
		["INSERT INTO a (id) VALUES ('text')", 'SQLITE_MISMATCH', 'datatype mismatch'],
		['INSERT INTO b (k) VALUES (1)', 'SQLITE_CONSTRAINT_PRIMARYKEY', 'UNIQUE constraint failed: b.k'],
		['INSERT INTO a (rowid) VALUES (1)', 'SQLITE_CONSTRAINT_PRIMARYKEY', 'UNIQUE constraint failed: a.id'],
		['INSERT INTO r (rowid) VALUES (1)', 'SQLITE_CONSTRAINT_ROWID', 'UNIQUE constraint failed: r.rowid'],
		["UPDATE a SET n = 'raise'", 'SQLITE_CONSTRAINT_TRIGGER', 'raised by the trigger'],
		['ROLLBACK', 'SQLITE_ERROR', 'cannot rollback - no transaction is active'],
		['COMMIT', 'SQLITE_ERROR', 'cannot commit - no transaction is active'],
		['RELEASE unheard', 'SQLITE_ERROR', 'no such savepoint: unheard'],
		["SELECT abs(-9223372036854775808)", 'SQLITE_ERROR', 'integer overflow'],
		["SELECT json('{')", 'SQLITE_ERROR', 'malformed JSON'],
	]) {
		it(`of ${sql} are thrown with code and message`, () => {
			const db = memory(`
				CREATE TABLE a (id INTEGER PRIMARY KEY, u UNIQUE, n NOT NULL DEFAULT 1, c CHECK (c > 0), d CONSTRAINT positive CHECK (d > 0), f REFERENCES a(id));
				CREATE TABLE b (k PRIMARY KEY) WITHOUT ROWID; CREATE TABLE r (s);
				CREATE TRIGGER t BEFORE UPDATE ON a WHEN new.n = 'raise' BEGIN SELECT RAISE(ABORT, 'raised by the trigger'); END;
				INSERT INTO a (id, u) VALUES (1, 'taken'); INSERT INTO b VALUES (1); INSERT INTO r (rowid) VALUES (1);
			`);
			throwsSqlite(() => db.prepare(sql).run(), code, message);
		});
	}

	it('undo the whole statement and leave it usable', () => {
		const db = memory('CREATE TABLE a (b UNIQUE)');
		const insert = db.prepare('INSERT INTO a VALUES (?), (?)');
		assert.equal(insert.run(1, 2).changes, 2);
		throwsSqlite(() => insert.run(3, 1), 'SQLITE_CONSTRAINT_UNIQUE');
		assert.equal(db.prepare('SELECT count(*) FROM a').pluck().get(), 2);
		assert.equal(insert.run(3, 4).changes, 2);
	});

	it('are those of another connection that holds the file', () => {
		const file = freshPath();
		const holder = new Database(file).exec('CREATE TABLE a (b); BEGIN IMMEDIATE');
		const db = new Database(file, { timeout: 0 });
		const insert = db.prepare('INSERT INTO a VALUES (1)');
		throwsSqlite(() => insert.run(), 'SQLITE_BUSY', 'database is locked');
		holder.exec('COMMIT');
		assert.equal(insert.run().changes, 1);
		holder.close();
		db.close();
	});

	it('are exactly what a user function threw, even null and undefined', () => {
		const db = memory('CREATE TABLE a (b)');
		let thrown;
		db.function('f', () => { throw thrown; });
		const insert = db.prepare('INSERT INTO a VALUES (f())');
		for (thrown of [new TypeError('mine'), 'text', 5, null, undefined, { code: 'SQLITE_OK' }]) throwsValue(() => insert.run(), thrown);
		assert.equal(db.prepare('SELECT count(*) FROM a').pluck().get(), 0);
	});
});

describe('run(): while busy', () => {
	it('is refused while any iterator of the database is open, also for a SELECT', () => {
		const db = filled(memory());
		const insert = db.prepare("INSERT INTO entries (t) VALUES ('x')");
		const select = db.prepare('SELECT 1');
		const iterator = db.prepare('SELECT * FROM entries').iterate();
		throws(() => insert.run(), TypeError, BUSY);
		throws(() => select.run(), TypeError, BUSY);
		iterator.next();
		throws(() => insert.run(), TypeError, BUSY);
		iterator.return();
		assert.equal(insert.run().changes, 1);
	});

	it('is refused inside a user function', () => {
		const db = memory('CREATE TABLE a (b)');
		const insert = db.prepare('INSERT INTO a VALUES (1)');
		db.function('f', () => { insert.run(); });
		throws(() => db.prepare('SELECT f()').get(), TypeError, BUSY);
		assert.equal(insert.run().changes, 1);
	});
});
