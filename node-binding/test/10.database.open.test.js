'use strict';
const { describe, it } = require('node:test');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { Database, SqliteError, OPENS_DESCRIPTORS, freshPath, throws, throwsSqlite, runProgram } = require('./support');

describe('new Database(): the class', () => {
	it('is the export itself, with SqliteError beside it', () => {
		assert.equal(typeof Database, 'function');
		assert.equal(Database.name, 'Database');
		assert.equal(typeof Database.SqliteError, 'function');
	});

	it('can be called without new', () => {
		const db = Database(':memory:');
		assert.ok(db instanceof Database);
		assert.equal(db.constructor, Database);
		assert.equal(db.open, true);
	});

	it('can be subclassed, with methods of its own beside the inherited ones', () => {
		class Notes extends Database {
			constructor(options) { super(':memory:', options); this.table = 'notes'; }
			create() { return this.exec('CREATE TABLE notes (a)'); }
		}
		const db = new Notes();
		assert.ok(db instanceof Notes);
		assert.ok(db instanceof Database);
		assert.equal(db.create(), db);
		assert.equal(db.prepare('SELECT * FROM notes').database, db);
		assert.equal(db.table, 'notes');
	});

	it('works through a proxy and through an object that inherits from it', () => {
		const db = new Database(':memory:');
		for (const other of [new Proxy(db, {}), Object.create(db)]) {
			assert.equal(other.open, true);
			assert.equal(other.name, ':memory:');
			assert.equal(other.prepare('SELECT 1').pluck().get(), 1);
			assert.equal(other.prepare('SELECT 1').database, other);
			assert.equal(other.exec('SELECT 1'), other);
			assert.equal(other.transaction(() => other.inTransaction)(), true);
		}
	});

	it('keeps every documented method on the prototype, enumerable and replaceable', () => {
		const methods = ['prepare', 'transaction', 'pragma', 'backup', 'serialize', 'function', 'aggregate', 'table',
			'loadExtension', 'exec', 'close', 'defaultSafeIntegers', 'unsafeMode'];
		for (const method of methods) {
			const descriptor = Object.getOwnPropertyDescriptor(Database.prototype, method);
			assert.equal(typeof descriptor.value, 'function', method);
			assert.equal(descriptor.enumerable, true, method);
			assert.equal(descriptor.writable, true, method);
		}
	});

	it('refuses methods called on something that is no database', () => {
		for (const method of ['prepare', 'exec', 'pragma', 'close', 'serialize']) {
			assert.throws(() => Database.prototype[method].call({}, 'SELECT 1'), TypeError, method);
		}
	});
});

describe('new Database(): properties', () => {
	it('shows name, open, inTransaction, readonly and memory as own enumerable properties', () => {
		const db = new Database(':memory:');
		assert.deepEqual(Object.keys(db), ['name', 'open', 'inTransaction', 'readonly', 'memory']);
		assert.deepEqual({ ...db }, { name: ':memory:', open: true, inTransaction: false, readonly: false, memory: true });
	});

	it('does not let the properties be assigned or deleted', () => {
		const db = new Database(':memory:');
		for (const key of ['name', 'open', 'inTransaction', 'readonly', 'memory']) {
			assert.throws(() => { db[key] = 'changed'; }, TypeError, key);
			assert.throws(() => { delete db[key]; }, TypeError, key);
			assert.notEqual(db[key], 'changed');
		}
	});

	it('lets a program add properties of its own', () => {
		const db = new Database(':memory:');
		db.label = 'mine';
		assert.equal(db.label, 'mine');
	});

	it('shows in inTransaction what a BEGIN, a COMMIT, a SAVEPOINT and a ROLLBACK do', () => {
		const db = new Database(':memory:');
		db.exec('BEGIN');
		assert.equal(db.inTransaction, true);
		db.prepare('COMMIT').run();
		assert.equal(db.inTransaction, false);
		db.exec('SAVEPOINT here');
		assert.equal(db.inTransaction, true);
		db.exec('ROLLBACK');
		assert.equal(db.inTransaction, false);
	});
});

describe('new Database(): file names', () => {
	it('opens a file, creating it when there is none', () => {
		const file = freshPath();
		const db = new Database(file);
		db.exec('CREATE TABLE a (b)');
		assert.ok(fs.existsSync(file));
		assert.equal(db.name, file);
		assert.equal(db.memory, false);
		assert.equal(db.readonly, false);
		db.close();
	});

	it('opens an existing file with what it holds', () => {
		const file = freshPath();
		new Database(file).exec('CREATE TABLE a (b); INSERT INTO a VALUES (7)').close();
		const db = new Database(file);
		assert.deepEqual(db.prepare('SELECT * FROM a').all(), [{ b: 7 }]);
		db.close();
	});

	it('shows to one connection what another has committed', () => {
		const file = freshPath();
		const one = new Database(file);
		const two = new Database(file);
		one.exec('CREATE TABLE a (b); INSERT INTO a VALUES (1)');
		const count = two.prepare('SELECT count(*) FROM a').pluck();
		assert.equal(count.get(), 1);
		one.exec('BEGIN; INSERT INTO a VALUES (2)');
		assert.equal(count.get(), 1);
		one.exec('COMMIT');
		assert.equal(count.get(), 2);
		one.close();
		two.close();
	});

	it('trims blanks from the file name but keeps the name as it was given', () => {
		const file = freshPath();
		const db = new Database(`  ${file}\t\n`);
		db.exec('CREATE TABLE a (b)');
		assert.equal(db.name, `  ${file}\t\n`);
		assert.ok(fs.existsSync(file));
		db.close();
	});

	it('accepts names with spaces, quotes and characters outside ASCII', () => {
		const file = freshPath(` it's "näme" 名前 🗝.db`);
		const db = new Database(file);
		db.exec('CREATE TABLE a (b)');
		assert.ok(fs.existsSync(file));
		db.close();
	});

	it('takes a relative path from the current directory', () => {
		const file = freshPath();
		const result = runProgram(`new Database(${JSON.stringify(path.basename(file))}).exec('CREATE TABLE a (b)').close()`, { cwd: path.dirname(file) });
		assert.equal(result.status, 0, result.stderr);
		assert.ok(fs.existsSync(file));
	});

	for (const [title, args, name] of [
		['":memory:"', [':memory:'], ':memory:'],
		['":memory:" with blanks around it', ['  :memory: '], '  :memory: '],
		['an empty string', [''], ''],
		['blanks only', ['   '], '   '],
		['no argument', [], ''],
		['undefined', [undefined], ''],
		['null', [null], ''],
	]) {
		it(`opens a database that is no file for ${title}`, () => {
			const db = new Database(...args);
			assert.equal(db.name, name);
			assert.equal(db.memory, true);
			assert.equal(db.open, true);
			db.exec('CREATE TABLE a (b); INSERT INTO a VALUES (1)');
			assert.equal(db.prepare('SELECT b FROM a').pluck().get(), 1);
		});
	}

	it('keeps in-memory databases apart', () => {
		const one = new Database(':memory:');
		const two = new Database(':memory:');
		one.exec('CREATE TABLE a (b)');
		throwsSqlite(() => two.prepare('SELECT * FROM a'), 'SQLITE_ERROR', 'no such table: a');
	});

	for (const value of [true, {}, [':memory:'], Symbol('x'), () => ':memory:', new Uint8Array(4), new String(':memory:'), 5n]) {
		it(`refuses a first argument of ${typeof value} ${String(typeof value === 'object' ? value.constructor.name : typeof value === 'function' ? '' : String(value))}`, () => {
			throws(() => new Database(value), TypeError, 'Expected first argument to be a string');
		});
	}

	for (const value of [0, 123]) {
		it(`refuses the number ${value} alone`, () => {
			// Since 13, a number is a file descriptor, which needs another one for the journal.
			throws(() => new Database(value), TypeError, !OPENS_DESCRIPTORS ? 'Expected first argument to be a string'
				: 'The "journalFd" option is required when opening a database from a file descriptor');
		});
	}

	it('refuses a path whose directory does not exist', () => {
		throws(() => new Database(path.join(freshPath(''), 'a.db')), TypeError, 'Cannot open database because the directory does not exist');
	});

	it('cannot open a directory', () => {
		const directory = freshPath('');
		fs.mkdirSync(directory);
		// Which of the CANTOPEN codes it is depends on SQLite's version and the system.
		throwsSqlite(() => new Database(directory), /^SQLITE_CANTOPEN/, 'unable to open database file');
	});

	it('opens a file that is no database and says so at the first statement', () => {
		const file = freshPath();
		fs.writeFileSync(file, 'certainly not a database, '.repeat(100));
		const db = new Database(file);
		assert.equal(db.open, true);
		throwsSqlite(() => db.prepare('SELECT * FROM sqlite_master'), 'SQLITE_NOTADB', 'file is not a database');
		throwsSqlite(() => db.exec('CREATE TABLE a (b)'), 'SQLITE_NOTADB', 'file is not a database');
		db.close();
	});

	it('treats an empty file as an empty database', () => {
		const file = freshPath();
		fs.writeFileSync(file, '');
		const db = new Database(file, { fileMustExist: true });
		assert.deepEqual(db.prepare('SELECT * FROM sqlite_master').all(), []);
		db.close();
	});
});

describe('new Database(): URI file names', () => {
	const body = `
		const fs = require('fs');
		const db = new Database('file:place.db?mode=memory');
		db.exec('CREATE TABLE a (b)');
		process.stdout.write(JSON.stringify(fs.readdirSync('.')));`;

	it('are plain file names unless asked for', () => {
		const cwd = freshPath('');
		fs.mkdirSync(cwd);
		const result = runProgram(body, { cwd, env: { SQLITE_USE_URI: '0' } });
		assert.equal(result.status, 0, result.stderr);
		assert.deepEqual(JSON.parse(result.stdout), ['file:place.db?mode=memory']);
	});

	it('are understood when the environment says SQLITE_USE_URI=1', () => {
		const cwd = freshPath('');
		fs.mkdirSync(cwd);
		const result = runProgram(body, { cwd, env: { SQLITE_USE_URI: '1' } });
		assert.equal(result.status, 0, result.stderr);
		assert.deepEqual(JSON.parse(result.stdout), []);
	});
});

describe('new Database(): options', () => {
	for (const value of [undefined, null, {}, Object.create(null), []]) {
		it(`accepts ${value === null || value === undefined ? value : JSON.stringify(value)} for the options`, () => {
			assert.equal(new Database(':memory:', value).open, true);
		});
	}

	for (const value of [0, 1, true, 'readonly', Symbol('x'), 5n, () => ({})]) {
		it(`refuses options of type ${typeof value}${typeof value === 'number' ? ` ${value}` : ''}`, () => {
			throws(() => new Database(':memory:', value), TypeError, 'Expected second argument to be an options object');
		});
	}

	it('checks the first argument before the options', () => {
		throws(() => new Database({}, 5), TypeError, 'Expected first argument to be a string');
	});

	it('names the right spelling when it sees "readOnly"', () => {
		throws(() => new Database(':memory:', { readOnly: undefined }), TypeError, 'Misspelled option "readOnly" should be "readonly"');
	});

	it('says that the option "memory" was removed', () => {
		throws(() => new Database('', { memory: true }), TypeError, 'Option "memory" was removed in v7.0.0 (use ":memory:" filename instead)');
	});

	for (const option of ['readonly', 'fileMustExist']) {
		for (const value of [undefined, null, 0, 1, 'true', {}]) {
			it(`wants a boolean for "${option}", not ${value === undefined ? 'undefined' : JSON.stringify(value)}`, () => {
				throws(() => new Database(':memory:', { [option]: value }), TypeError, `Expected the "${option}" option to be a boolean`);
			});
		}
	}

	it('honours options that are inherited', () => {
		throws(() => new Database(freshPath(), Object.create({ fileMustExist: 1 })), TypeError, 'Expected the "fileMustExist" option to be a boolean');
		throwsSqlite(() => new Database(freshPath(), Object.create({ fileMustExist: true })), 'SQLITE_CANTOPEN', 'unable to open database file');
	});

	it('ignores options that it does not know', () => {
		assert.equal(new Database(':memory:', { unheard: 'of' }).open, true);
	});

	it('does not create a file that must exist', () => {
		const file = freshPath();
		throwsSqlite(() => new Database(file, { fileMustExist: true }), 'SQLITE_CANTOPEN', 'unable to open database file');
		assert.equal(fs.existsSync(file), false);
	});

	it('opens for writing a file that must exist and does', () => {
		const file = freshPath();
		fs.writeFileSync(file, '');
		const db = new Database(file, { fileMustExist: true });
		db.exec('CREATE TABLE a (b)');
		db.close();
	});

	it('lets "fileMustExist" pass for an in-memory database', () => {
		assert.equal(new Database(':memory:', { fileMustExist: true }).memory, true);
		assert.equal(new Database('', { fileMustExist: true }).memory, true);
	});

	it('reads but refuses to write when readonly', () => {
		const file = freshPath();
		new Database(file).exec('CREATE TABLE a (b); INSERT INTO a VALUES (1)').close();
		const db = new Database(file, { readonly: true });
		assert.equal(db.readonly, true);
		assert.equal(db.memory, false);
		assert.equal(db.prepare('SELECT b FROM a').pluck().get(), 1);
		const insert = db.prepare('INSERT INTO a VALUES (2)');
		throwsSqlite(() => insert.run(), 'SQLITE_READONLY', 'attempt to write a readonly database');
		throwsSqlite(() => db.exec('DROP TABLE a'), 'SQLITE_READONLY', 'attempt to write a readonly database');
		assert.equal(db.prepare('SELECT count(*) FROM a').pluck().get(), 1);
		db.close();
	});

	it('does not create a file when readonly', () => {
		const file = freshPath();
		throwsSqlite(() => new Database(file, { readonly: true }), 'SQLITE_CANTOPEN', 'unable to open database file');
		assert.equal(fs.existsSync(file), false);
	});

	for (const name of [':memory:', '', undefined]) {
		it(`refuses a readonly database named ${JSON.stringify(name)}`, () => {
			throws(() => new Database(name, { readonly: true }), TypeError, 'In-memory/temporary databases cannot be readonly');
		});
	}

	for (const value of [-1, 1.5, NaN, Infinity, -Infinity, '100', null, undefined, true, 5n, {}]) {
		it(`refuses a timeout of ${typeof value} ${String(value)}`, () => {
			throws(() => new Database(':memory:', { timeout: value }), TypeError, 'Expected the "timeout" option to be a positive integer');
		});
	}

	it('refuses a timeout above 2147483647', () => {
		throws(() => new Database(':memory:', { timeout: 0x80000000 }), RangeError, 'Option "timeout" cannot be greater than 2147483647');
		assert.equal(new Database(':memory:', { timeout: 0x7fffffff }).open, true);
	});

	it('gives up at once on a locked database when the timeout is 0', () => {
		const file = freshPath();
		const holder = new Database(file).exec('CREATE TABLE a (b); BEGIN EXCLUSIVE');
		const db = new Database(file, { timeout: 0 });
		const start = process.hrtime.bigint();
		throwsSqlite(() => db.exec('BEGIN IMMEDIATE'), 'SQLITE_BUSY', 'database is locked');
		assert.ok(process.hrtime.bigint() - start < 1000000000n);
		holder.close();
		db.exec('BEGIN IMMEDIATE; COMMIT');
		db.close();
	});

	it('waits for a locked database about as long as the timeout says', () => {
		const file = freshPath();
		const holder = new Database(file).exec('CREATE TABLE a (b); BEGIN EXCLUSIVE');
		const db = new Database(file, { timeout: 150 });
		const start = process.hrtime.bigint();
		throwsSqlite(() => db.exec('BEGIN IMMEDIATE'), 'SQLITE_BUSY', 'database is locked');
		// SQLite stops before a wait that would exceed the timeout, so a little less than 150 ms may pass.
		assert.ok(process.hrtime.bigint() - start > 100000000n);
		holder.close();
		db.close();
	});

	it('has a timeout of 5 seconds by default, which a pragma shows and changes', () => {
		const db = new Database(':memory:');
		assert.equal(db.pragma('busy_timeout', { simple: true }), 5000);
		assert.equal(new Database(':memory:', { timeout: 1234 }).pragma('busy_timeout', { simple: true }), 1234);
		db.pragma('busy_timeout = 10');
		assert.equal(db.pragma('busy_timeout', { simple: true }), 10);
	});

	for (const value of [1, true, 'log', {}, []]) {
		it(`refuses ${JSON.stringify(value)} for "verbose"`, () => {
			throws(() => new Database(':memory:', { verbose: value }), TypeError, 'Expected the "verbose" option to be a function');
		});
	}

	it('accepts null and undefined for "verbose"', () => {
		assert.equal(new Database(':memory:', { verbose: null }).exec('SELECT 1').open, true);
		assert.equal(new Database(':memory:', { verbose: undefined }).exec('SELECT 1').open, true);
	});

	for (const value of [1, true, () => {}, 5n]) {
		it(`refuses a nativeBinding of type ${typeof value}`, () => {
			throws(() => new Database(':memory:', { nativeBinding: value }), TypeError, 'Expected the "nativeBinding" option to be a string or addon object');
		});
	}

	it('accepts null and undefined for "nativeBinding"', () => {
		assert.equal(new Database(':memory:', { nativeBinding: null }).open, true);
		assert.equal(new Database(':memory:', { nativeBinding: undefined }).open, true);
	});

	it('says when the native binding is not where the option says', () => {
		throws(() => new Database(':memory:', { nativeBinding: freshPath('') }), Error, /^Cannot find module '.*\.node'/, 'MODULE_NOT_FOUND');
	});

	it('checks the native binding before the directory', () => {
		throws(() => new Database(path.join(freshPath(''), 'a.db'), { nativeBinding: 1 }), TypeError, 'Expected the "nativeBinding" option to be a string or addon object');
	});

	it('leaves nothing behind after a failure: the same file opens afterwards', () => {
		const file = freshPath();
		assert.throws(() => new Database(file, { readonly: true }), SqliteError);
		assert.throws(() => new Database(file, { timeout: -1 }), TypeError);
		const db = new Database(file);
		db.exec('CREATE TABLE a (b)');
		db.close();
	});
});
