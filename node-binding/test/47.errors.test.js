'use strict';
const { describe, it } = require('node:test');
const assert = require('node:assert/strict');
const { Database, SqliteError, GENERATION, freshPath, memory, filled, throws, throwsSqlite } = require('./support');

function caught(fn) {
	try { fn(); } catch (error) { return error; }
	return assert.fail('nothing was thrown');
}

describe('SqliteError: the class', () => {
	it('is an Error with a name of its own', () => {
		const error = new SqliteError('message', 'CODE');
		assert.ok(error instanceof Error);
		assert.ok(error instanceof SqliteError);
		assert.equal(error.name, 'SqliteError');
		assert.equal(error.message, 'message');
		assert.equal(error.code, 'CODE');
		assert.equal(String(error), 'SqliteError: message');
		assert.equal(error.constructor, SqliteError);
		assert.equal(SqliteError.name, 'SqliteError');
	});

	it('inherits from Error also as a function', () => {
		assert.equal(Object.getPrototypeOf(SqliteError), Error);
		assert.equal(Object.getPrototypeOf(SqliteError.prototype), Error.prototype);
	});

	it('can be called without new', () => {
		let error;
		try {
			error = SqliteError('message', 'CODE');
		} catch (thrown) {
			// Since 13 it is a class, which cannot.
			assert.equal(GENERATION, 13);
			assert.equal(thrown.constructor, TypeError);
			return;
		}
		assert.ok(error instanceof SqliteError);
		assert.equal(error.code, 'CODE');
	});

	for (const value of [undefined, null, 5, {}]) {
		it(`wants a string for the code, not ${value === null ? 'null' : typeof value}`, () => throws(() => new SqliteError('message', value), TypeError, 'Expected second argument to be a string'));
	}

	it('turns the message into a string', () => {
		assert.equal(new SqliteError(5, 'C').message, '5');
		assert.equal(new SqliteError(undefined, 'C').message, 'undefined');
		assert.equal(new SqliteError({ toString: () => 'text' }, 'C').message, 'text');
	});

	it('shows the code among its keys, and message and name only when asked', () => {
		const error = new SqliteError('message', 'CODE');
		assert.deepEqual(Object.keys(error), ['code']);
		assert.equal(Object.getOwnPropertyDescriptor(error, 'message').enumerable, false);
		assert.equal(Object.hasOwn(error, 'name'), false);
		error.message = 'changed';
		error.code = 'OTHER';
		assert.equal(`${error} ${error.code}`, 'SqliteError: changed OTHER');
	});

	it('has a stack that begins with the message and leads to its maker', () => {
		const error = (function makerOfErrors() { return new SqliteError('message', 'CODE'); })();
		assert.match(error.stack, /^SqliteError: message\n\s+at makerOfErrors /);
	});

	it('keeps name and message right over many instances', () => {
		const one = new SqliteError('one', 'A');
		const two = new SqliteError('two', 'B');
		assert.deepEqual([one.name, one.message, two.name, two.message, SqliteError.prototype.name], ['SqliteError', 'one', 'SqliteError', 'two', 'SqliteError']);
	});
});

describe('errors of SQLite', () => {
	it('are instances of Database.SqliteError with code and a stack that leads to the caller', () => {
		const error = caught(function callerOfPrepare() { memory().prepare('SELECT nowhere'); });
		assert.equal(error.constructor, Database.SqliteError);
		assert.equal(error.name, 'SqliteError');
		assert.equal(error.code, 'SQLITE_ERROR');
		assert.match(error.stack, /callerOfPrepare/);
		assert.deepEqual(Object.keys(error), ['code']);
	});

	it('are new ones every time', () => {
		const db = memory();
		assert.notEqual(caught(() => db.prepare('SELECT nowhere')), caught(() => db.prepare('SELECT nowhere')));
	});

	for (const [code, message, setup, sql] of [
		['SQLITE_ERROR', 'no such table: nowhere', '', 'SELECT * FROM nowhere'],
		['SQLITE_ERROR', 'unrecognized token: "#"', '', 'SELECT #'],
		['SQLITE_ERROR', 'cannot start a transaction within a transaction', 'BEGIN', 'BEGIN'],
		['SQLITE_ERROR', 'cannot VACUUM from within a transaction', 'BEGIN', 'VACUUM'],
		['SQLITE_ERROR', 'table a already exists', 'CREATE TABLE a (b)', 'CREATE TABLE a (b)'],
		['SQLITE_ERROR', 'index i already exists', 'CREATE TABLE a (b); CREATE INDEX i ON a (b)', 'CREATE INDEX i ON a (b)'],
		['SQLITE_ERROR', 'cannot modify v because it is a view', 'CREATE VIEW v AS SELECT 1 AS a', 'INSERT INTO v VALUES (1)'],
		['SQLITE_ERROR', 'object name reserved for internal use: sqlite_mine', '', 'CREATE TABLE sqlite_mine (a)'],
		['SQLITE_ERROR', 'table a has no column named c', 'CREATE TABLE a (b)', 'INSERT INTO a (c) VALUES (1)'],
		['SQLITE_ERROR', /^misuse of aggregate/, 'CREATE TABLE a (b)', 'SELECT * FROM a WHERE count(b) > 1'],
		['SQLITE_CONSTRAINT_PRIMARYKEY', 'UNIQUE constraint failed: a.b', 'CREATE TABLE a (b PRIMARY KEY); INSERT INTO a VALUES (1)', 'INSERT INTO a VALUES (1)'],
		['SQLITE_CONSTRAINT_UNIQUE', 'UNIQUE constraint failed: a.b, a.c', 'CREATE TABLE a (b, c, UNIQUE (b, c)); INSERT INTO a VALUES (1, 2)', 'INSERT INTO a VALUES (1, 2)'],
		['SQLITE_CONSTRAINT_UNIQUE', "UNIQUE constraint failed: index 'i'", 'CREATE TABLE a (b); CREATE UNIQUE INDEX i ON a (lower(b)); INSERT INTO a VALUES (\'X\')', "INSERT INTO a VALUES ('x')"],
		['SQLITE_CONSTRAINT_NOTNULL', 'NOT NULL constraint failed: a.b', 'CREATE TABLE a (b NOT NULL)', 'INSERT INTO a VALUES (NULL)'],
		['SQLITE_CONSTRAINT_CHECK', 'CHECK constraint failed: named', 'CREATE TABLE a (b CONSTRAINT named CHECK (b > 0))', 'INSERT INTO a VALUES (0)'],
		['SQLITE_CONSTRAINT_FOREIGNKEY', 'FOREIGN KEY constraint failed', 'CREATE TABLE a (b PRIMARY KEY); CREATE TABLE c (d REFERENCES a)', 'INSERT INTO c VALUES (1)'],
		['SQLITE_CONSTRAINT_TRIGGER', 'enough', "CREATE TABLE a (b); CREATE TRIGGER t BEFORE INSERT ON a BEGIN SELECT RAISE(FAIL, 'enough'); END", 'INSERT INTO a VALUES (1)'],
		['SQLITE_CONSTRAINT_ROWID', 'UNIQUE constraint failed: a.rowid', 'CREATE TABLE a (b); INSERT INTO a VALUES (1)', 'INSERT INTO a (rowid) VALUES (1)'],
		['SQLITE_CONSTRAINT_DATATYPE', 'cannot store TEXT value in INTEGER column a.b', 'CREATE TABLE a (b INTEGER) STRICT', "INSERT INTO a VALUES ('x')"],
		['SQLITE_MISMATCH', 'datatype mismatch', 'CREATE TABLE a (b INTEGER PRIMARY KEY)', "INSERT INTO a VALUES ('x')"],
		['SQLITE_TOOBIG', 'string or blob too big', '', 'SELECT zeroblob(3000000000)'],
		['SQLITE_FULL', 'database or disk is full', 'PRAGMA max_page_count = 3; CREATE TABLE a (b)', 'INSERT INTO a VALUES (zeroblob(50000))'],
		['SQLITE_FULL', 'database or disk is full', 'CREATE TABLE a (b INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO a VALUES (9223372036854775807)', 'INSERT INTO a VALUES (NULL)'],
	]) {
		it(`give ${code} for ${sql} ${setup && `after ${setup.slice(0, 40)}`}`, () => {
			const db = memory();
			if (setup) db.exec(setup);
			throwsSqlite(() => db.prepare(sql).run(), code, message);
			assert.equal(db.prepare('SELECT 1').pluck().get(), 1);
			db.close();
		});
	}

	it('give SQLITE_READONLY, SQLITE_CANTOPEN, SQLITE_NOTADB and SQLITE_BUSY for files', () => {
		const file = freshPath();
		const db = new Database(file, { timeout: 0 }).exec('CREATE TABLE a (b)');
		throwsSqlite(() => new Database(file, { readonly: true }).exec('DELETE FROM a'), 'SQLITE_READONLY', 'attempt to write a readonly database');
		throwsSqlite(() => new Database(freshPath(), { fileMustExist: true }), 'SQLITE_CANTOPEN', 'unable to open database file');
		const other = new Database(file).exec('BEGIN EXCLUSIVE');
		throwsSqlite(() => db.prepare('SELECT * FROM a').all(), 'SQLITE_BUSY', 'database is locked');
		other.close();
		throwsSqlite(() => db.exec("ATTACH '/nowhere/at/all.db' AS x"), /^SQLITE_CANTOPEN/, 'unable to open database: /nowhere/at/all.db');
		db.close();
	});

	it('give SQLITE_CORRUPT for a damaged file', () => {
		const bytes = filled(memory(), 500).serialize();
		const db = new Database(Buffer.concat([bytes.subarray(0, 4096), Buffer.alloc(bytes.length - 4096, 0xee)]));
		throwsSqlite(() => db.prepare('SELECT * FROM entries').all(), /^SQLITE_CORRUPT/, 'database disk image is malformed');
		db.close();
	});

	it('give SQLITE_TOOBIG for a value that no JavaScript string could hold', () => {
		const { constants } = require('node:buffer');
		const db = memory();
		throwsSqlite(() => db.prepare('SELECT length(zeroblob(?))').get(BigInt(constants.MAX_STRING_LENGTH) + 1n), 'SQLITE_TOOBIG', 'string or blob too big');
		assert.equal(db.prepare('SELECT length(zeroblob(?))').pluck().get(10000000n), 10000000);
	});

	it('give SQLITE_LOCKED for a table that is being read', () => {
		const db = filled(memory()).unsafeMode();
		const iterator = db.prepare('SELECT * FROM entries').iterate();
		iterator.next();
		throwsSqlite(() => db.exec('DROP TABLE entries'), 'SQLITE_LOCKED', 'database table is locked');
		iterator.return();
	});

	it('keep their message although it holds characters outside ASCII', () => {
		throwsSqlite(() => memory().prepare('SELECT * FROM größe_名前'), 'SQLITE_ERROR', 'no such table: größe_名前');
	});

	it('do not depend on an error before', () => {
		const db = memory('CREATE TABLE a (b UNIQUE); INSERT INTO a VALUES (1)');
		throwsSqlite(() => db.exec('INSERT INTO a VALUES (1)'), 'SQLITE_CONSTRAINT_UNIQUE');
		throwsSqlite(() => db.prepare('SELECT nowhere'), 'SQLITE_ERROR', 'no such column: nowhere');
		throws(() => db.prepare(''), RangeError, 'The supplied SQL string contains no statements');
		throwsSqlite(() => db.exec('INSERT INTO a VALUES (1)'), 'SQLITE_CONSTRAINT_UNIQUE', 'UNIQUE constraint failed: a.b');
	});
});

describe('errors of use', () => {
	it('are TypeErrors and RangeErrors without a code', () => {
		const db = memory();
		for (const fn of [() => db.prepare(5), () => db.prepare(''), () => db.prepare('SELECT ?').get(), () => db.prepare('BEGIN').get(), () => new Database(5)]) {
			const error = caught(fn);
			assert.ok(error instanceof TypeError || error instanceof RangeError);
			assert.equal(error instanceof SqliteError, false);
			assert.equal(Object.hasOwn(error, 'code'), false);
		}
	});

	it('say so when a method of a statement is called on something else', () => {
		const statement = memory().prepare('SELECT 1');
		const names = ['run', 'get', 'all', 'iterate', 'bind', 'pluck', 'expand', 'raw', 'safeIntegers', 'columns'];
		for (const name of names) throws(() => statement[name].call({}), TypeError, 'Illegal invocation');
		const iterator = statement.iterate();
		for (const name of ['next', 'return']) throws(() => iterator[name].call(statement), TypeError, 'Illegal invocation');
		iterator.return();
	});
});
