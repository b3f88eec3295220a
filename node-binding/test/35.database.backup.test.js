'use strict';
const { describe, it } = require('node:test');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { Database, freshPath, memory, throws, throwsSqlite, rejects, runProgram, BUSY, CLOSED } = require('./support');

// A database of a little more than `pages` pages.
function large(pages = 500, db = memory()) {
	db.exec('CREATE TABLE a (b)');
	const insert = db.prepare('INSERT INTO a VALUES (zeroblob(3000))');
	db.transaction(() => { for (let i = 0; i < pages; ++i) insert.run(); })();
	return db;
}
function rowsIn(file, sql = 'SELECT count(*) FROM a') {
	const db = new Database(file, { readonly: true });
	const result = db.prepare(sql).pluck().all();
	db.close();
	return result;
}

describe('backup(): arguments', () => {
	for (const [title, parameters, message] of [
		['nothing', [], 'Expected first argument to be a string'],
		['a number for the file', [5], 'Expected first argument to be a string'],
		['null for the file', [null], 'Expected first argument to be a string'],
		['a buffer for the file', [Buffer.from('x')], 'Expected first argument to be a string'],
		['an empty name', [''], 'Backup filename cannot be an empty string'],
		['a name of blanks', ['  \n'], 'Backup filename cannot be an empty string'],
		['":memory:"', [':memory:'], 'Invalid backup filename ":memory:"'],
		['":memory:" between blanks', [' :memory: '], 'Invalid backup filename ":memory:"'],
		['a number for the options', ['x', 5], 'Expected second argument to be an options object'],
		['a function for the options', ['x', () => 5], 'Expected second argument to be an options object'],
		['a number for "attached"', ['x', { attached: 5 }], 'Expected the "attached" option to be a string'],
		['undefined for "attached"', ['x', { attached: undefined }], 'Expected the "attached" option to be a string'],
		['an empty string for "attached"', ['x', { attached: '' }], 'The "attached" option cannot be an empty string'],
		['a number for "progress"', ['x', { progress: 5 }], 'Expected the "progress" option to be a function'],
		['an object for "progress"', ['x', { progress: {} }], 'Expected the "progress" option to be a function'],
	]) {
		it(`rejects ${title} and throws nothing`, async () => {
			const promise = memory().backup(...parameters);
			assert.ok(promise instanceof Promise);
			await rejects(promise, TypeError, message);
		});
	}

	it('rejects a path whose directory does not exist', async () => {
		await rejects(memory().backup(path.join(freshPath(''), 'a.db')), TypeError, 'Cannot save backup because the directory does not exist');
	});

	it('rejects a directory', async () => {
		const directory = freshPath('');
		fs.mkdirSync(directory);
		await rejects(memory().backup(directory), Database.SqliteError, 'unable to open database file', /^SQLITE_CANTOPEN/);
	});

	it('accepts null and undefined for the options and for "progress"', async () => {
		for (const options of [undefined, null, {}, { progress: null }, { progress: undefined }]) {
			const file = freshPath();
			assert.deepEqual(await large(5).backup(file, options), { totalPages: 7, remainingPages: 0 });
			assert.deepEqual(rowsIn(file), [5]);
		}
	});
});

describe('backup(): copies', () => {
	it('resolves to the numbers of pages', async () => {
		const file = freshPath();
		const result = await large().backup(file);
		assert.deepEqual(Object.keys(result), ['totalPages', 'remainingPages']);
		assert.ok(result.totalPages > 500);
		assert.equal(result.remainingPages, 0);
		assert.deepEqual(rowsIn(file), [500]);
		assert.deepEqual(rowsIn(file, 'PRAGMA integrity_check'), ['ok']);
	});

	it('makes a file equal to the database file', async () => {
		const file = freshPath();
		const copy = freshPath();
		const db = large(20, new Database(file));
		await db.backup(copy);
		db.close();
		assert.deepEqual(rowsIn(copy), [20]);
		assert.equal(fs.statSync(copy).size, fs.statSync(file).size);
	});

	it('trims blanks from the name', async () => {
		const file = freshPath();
		await large(5).backup(`  ${file}\n`);
		assert.deepEqual(rowsIn(file), [5]);
	});

	it('replaces what an existing database held', async () => {
		const file = freshPath();
		new Database(file).exec('CREATE TABLE old (x); CREATE TABLE a (y)').close();
		await large(5).backup(file);
		assert.deepEqual(rowsIn(file, 'SELECT name FROM sqlite_master'), ['a']);
		assert.deepEqual(rowsIn(file), [5]);
	});

	it('rejects a file that is no database, and leaves it alone', async () => {
		const file = freshPath();
		fs.writeFileSync(file, 'not a database '.repeat(500));
		await rejects(large(5).backup(file), Database.SqliteError, 'file is not a database', 'SQLITE_NOTADB');
		assert.equal(fs.readFileSync(file, 'utf8'), 'not a database '.repeat(500));
	});

	it('copies an attached database', async () => {
		const file = freshPath();
		const db = memory("ATTACH ':memory:' AS other; CREATE TABLE other.a (b); INSERT INTO other.a VALUES (1), (2)");
		await db.backup(file, { attached: 'other' });
		assert.deepEqual(rowsIn(file), [2]);
		const main = freshPath();
		await large(3, db).backup(main, { attached: 'main' });
		assert.deepEqual(rowsIn(main), [3]);
	});

	it('rejects a database that is not attached, and writes nothing', async () => {
		const file = freshPath();
		await rejects(memory().backup(file, { attached: 'nowhere' }), Database.SqliteError, 'unknown database nowhere', 'SQLITE_ERROR');
		// SQLite creates the file when it opens it; that it stays empty is all that is promised.
		assert.ok(!fs.existsSync(file) || fs.statSync(file).size === 0);
	});

	it('copies from a readonly database', async () => {
		const source = freshPath();
		large(5, new Database(source)).close();
		const file = freshPath();
		const db = new Database(source, { readonly: true });
		await db.backup(file);
		db.close();
		assert.deepEqual(rowsIn(file), [5]);
	});

	it('copies a database in WAL mode with what its log holds', async () => {
		const source = new Database(freshPath());
		source.pragma('journal_mode = WAL');
		const file = freshPath();
		await large(5, source).backup(file);
		source.close();
		assert.deepEqual(rowsIn(file), [5]);
	});

	it('runs while an iterator is open', async () => {
		const file = freshPath();
		const db = large(5);
		const iterator = db.prepare('SELECT * FROM a').iterate();
		iterator.next();
		await db.backup(file);
		iterator.return();
		assert.deepEqual(rowsIn(file), [5]);
	});

	it('runs several at once', async () => {
		const db = large(300);
		const files = [freshPath(), freshPath(), freshPath()];
		await Promise.all(files.map((file) => db.backup(file)));
		for (const file of files) assert.deepEqual(rowsIn(file), [300]);
	});

	it('lets the program work between its steps and copies what it wrote', async () => {
		const file = freshPath();
		const db = large(500);
		let steps = 0;
		const promise = db.backup(file, { progress() {
			steps += 1;
			if (steps <= 3) db.exec('INSERT INTO a VALUES (zeroblob(3000))');
			return 50;
		} });
		await promise;
		assert.deepEqual(rowsIn(file), [503]);
	});

	it('starts nothing before it returns: the database may be changed at once', async () => {
		const file = freshPath();
		const db = large(5);
		const promise = db.backup(file);
		db.exec('DELETE FROM a');
		await promise;
		assert.deepEqual(rowsIn(file), [0]);
	});
});

describe('backup(): progress', () => {
	it('is called before the first pages and then after every 100', async () => {
		const seen = [];
		const { totalPages } = await large(500).backup(freshPath(), { progress: (info) => { seen.push({ ...info }); } });
		assert.deepEqual(seen[0], { totalPages, remainingPages: totalPages });
		assert.deepEqual(seen.map((info) => info.remainingPages), Array.from({ length: 6 }, (_, i) => totalPages - 100 * i));
	});

	it('returns the number of pages of the next steps, rounded', async () => {
		const seen = [];
		const { totalPages } = await large(500).backup(freshPath(), { progress: (info) => { seen.push(info.remainingPages); return 200.4; } });
		assert.deepEqual(seen, [totalPages, totalPages - 200, totalPages - 400]);
	});

	it('keeps to the last number when it returns undefined', async () => {
		const seen = [];
		const { totalPages } = await large(500).backup(freshPath(), { progress: (info) => { seen.push(info.remainingPages); return seen.length === 1 ? 250 : undefined; } });
		assert.deepEqual(seen, [totalPages, totalPages - 250, totalPages - 500]);
	});

	it('pauses with 0, and with numbers below, until it says otherwise', async () => {
		const seen = [];
		const answers = [0, -5, 0, -Infinity, Infinity];
		const { totalPages } = await large(500).backup(freshPath(), { progress: (info) => { seen.push(info.remainingPages); return answers[seen.length - 1]; } });
		assert.deepEqual(seen, Array(5).fill(totalPages));
	});

	it('is not called for a database that fits into nothing', async () => {
		let calls = 0;
		await memory().backup(freshPath(), { progress: () => { calls += 1; } });
		assert.equal(calls, 0);
	});

	for (const [title, value] of [['NaN', NaN], ['a string', '5'], ['null', null], ['true', true], ['a bigint', 5n], ['an object', {}], ['a promise', Promise.resolve(5)]]) {
		it(`must not return ${title}; the file goes away`, async () => {
			const file = freshPath();
			await rejects(large(300).backup(file, { progress: () => value }), TypeError, 'Expected progress callback to return a number or undefined');
			assert.equal(fs.existsSync(file), false);
		});
	}

	it('rejects with exactly what it throws; a new file goes away and an old one stays', async () => {
		const error = new Error('mine');
		const file = freshPath();
		await assert.rejects(large(300).backup(file, { progress: () => { throw error; } }), (reason) => reason === error);
		assert.equal(fs.existsSync(file), false);
		new Database(file).exec('CREATE TABLE old (x)').close();
		await assert.rejects(large(300).backup(file, { progress: () => { throw error; } }), (reason) => reason === error);
		assert.deepEqual(rowsIn(file, 'SELECT name FROM sqlite_master'), ['old']);
	});

	it('rejects when the database is closed under it, and the file goes away', async () => {
		const file = freshPath();
		const db = large(300);
		await rejects(db.backup(file, { progress: () => { db.close(); } }), TypeError, CLOSED);
		assert.equal(fs.existsSync(file), false);
	});
});

describe('backup(): while busy', () => {
	it('can be asked for inside a user function, for it begins later', async () => {
		const db = large(5);
		const file = freshPath();
		let promise;
		db.function('f', () => { promise = db.backup(file); });
		db.prepare('SELECT f()').get();
		await promise;
		assert.deepEqual(rowsIn(file), [5]);
	});

	it('does not make the database busy between its steps', async () => {
		const db = large(300);
		await db.backup(freshPath(), { progress: () => { db.exec('SELECT 1'); db.prepare('SELECT 1').get(); } });
		const iterator = db.prepare('SELECT 1').iterate();
		throws(() => db.exec('SELECT 1'), TypeError, BUSY);
		iterator.return();
	});

	it('keeps a process alive until it is done', () => {
		const file = freshPath();
		const result = runProgram(`
			const db = new Database(':memory:');
			db.exec('CREATE TABLE a (b); INSERT INTO a VALUES (1)');
			db.backup(file).then((info) => process.stdout.write(JSON.stringify(info)));`, { file });
		assert.equal(result.status, 0, result.stderr);
		assert.equal(result.stdout, '{"totalPages":2,"remainingPages":0}');
		assert.deepEqual(rowsIn(file), [1]);
		throwsSqlite(() => rowsIn(`${file}.other`), 'SQLITE_CANTOPEN');
	});
});
