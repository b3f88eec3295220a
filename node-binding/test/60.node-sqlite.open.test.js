'use strict';
const { describe, it } = require('node:test');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const { pathToFileURL } = require('node:url');
const {
	sqlite, DatabaseSync, freshPath, memory, letters, get, row, throws, throwsType, throwsRange, throwsState, throwsSqlite,
} = require('./node-sqlite-support');

describe('the module', () => {
	it('exports the classes, under their present and their former names', () => {
		assert.deepEqual(Object.keys(sqlite).sort(), ['Database', 'DatabaseSync', 'Session', 'Statement', 'StatementSync', 'backup', 'constants']);
		assert.equal(sqlite.Database, sqlite.DatabaseSync);
		assert.equal(sqlite.Statement, sqlite.StatementSync);
		assert.equal(sqlite.Database.name, 'Database');
		assert.equal(sqlite.Statement.name, 'Statement');
	});

	it('has the methods of the original, which can be seen', () => {
		const methods = (Class) => Object.keys(Class.prototype).sort();
		assert.deepEqual(methods(sqlite.Database), ['aggregate', 'applyChangeset', 'close', 'createModule', 'createSession', 'createTagStore',
			'deserialize', 'enableDefensive', 'enableLoadExtension', 'exec', 'function', 'loadExtension', 'location', 'open', 'prepare', 'serialize',
			'setAuthorizer']);
		assert.deepEqual(methods(sqlite.Statement), ['all', 'close', 'columns', 'get', 'iterate', 'resetStats', 'run',
			'setAllowBareNamedParameters', 'setAllowUnknownNamedParameters', 'setReadBigInts', 'setReturnArrays', 'stat']);
		assert.deepEqual(methods(sqlite.Session), ['changeset', 'close', 'patchset']);
		for (const Class of [sqlite.Database, sqlite.Statement, sqlite.Session]) {
			assert.equal(typeof Class.prototype[Symbol.dispose], 'function');
			for (const name of methods(Class)) assert.equal(Class.prototype[name].name, name);
		}
	});

	it('has SQLite\'s numbers as constants that cannot be changed', () => {
		const { constants } = sqlite;
		assert.equal(Object.keys(constants).length, 45);
		assert.equal(constants.SQLITE_CHANGESET_ABORT, 2);
		assert.equal(constants.SQLITE_CHANGESET_FOREIGN_KEY, 5);
		assert.equal(constants.SQLITE_DENY, 1);
		assert.equal(constants.SQLITE_CREATE_TABLE, 2);
		assert.equal(constants.SQLITE_READ, 20);
		assert.equal(constants.SQLITE_SAVEPOINT, 32);
		assert.equal(constants.SQLITE_RECURSIVE, 33);
		assert.throws(() => { constants.SQLITE_OK = 1; }, TypeError);
	});
});

describe('new DatabaseSync(): the path', () => {
	it('opens a file, which is there afterwards', () => {
		const file = freshPath();
		const db = new DatabaseSync(file);
		db.exec('CREATE TABLE t(x)');
		assert.equal(fs.existsSync(file), true);
		assert.equal(db.location(), file);
		db.close();
	});

	for (const [title, of] of [['a Buffer', (file) => Buffer.from(file)], ['a Uint8Array', (file) => new Uint8Array(Buffer.from(file))], ['a URL', pathToFileURL]]) {
		it(`takes ${title}`, () => {
			const file = freshPath(' with blanks.db');
			const db = new DatabaseSync(of(file));
			db.exec('CREATE TABLE t(x)');
			assert.equal(db.location(), file);
			assert.equal(fs.existsSync(file), true);
		});
	}

	it('takes addresses with SQLite\'s parameters', () => {
		const file = freshPath();
		new DatabaseSync(file).exec('CREATE TABLE t(x)');
		const url = pathToFileURL(file);
		url.searchParams.set('mode', 'ro');
		throwsSqlite(() => new DatabaseSync(url).exec('INSERT INTO t VALUES(1)'), 8, 'attempt to write a readonly database');
		assert.equal(new DatabaseSync(`file:${file}?mode=memory`).location(), null);
		assert.equal(new DatabaseSync('file::memory:').location(), null);
	});

	for (const path of [undefined, null, 5, {}, [], 'a\0b', Buffer.from('a\0b'), new Uint16Array(2)]) {
		it(`refuses ${path === undefined ? 'nothing' : JSON.stringify(path)}`, () => {
			throwsType(() => new DatabaseSync(path), 'The "path" argument must be a string, Uint8Array, or URL without null bytes.');
		});
	}

	it('refuses other URLs', () => {
		throws(() => new DatabaseSync(new URL('http://example.org/')), TypeError, 'ERR_INVALID_URL_SCHEME', 'The URL must be of scheme file:');
	});

	it('says in SQLite\'s words why a file cannot be opened', () => {
		throwsSqlite(() => new DatabaseSync(freshPath('/in/no/directory.db')), 14, 'unable to open database file', 'unable to open database file');
	});

	it('wants to be called with new', () => {
		throws(() => DatabaseSync(':memory:'), TypeError, 'ERR_CONSTRUCT_CALL_REQUIRED', 'Cannot call constructor without `new`');
	});

	it('can be extended', () => {
		class Own extends DatabaseSync {
			one() {
				return get(this, 'SELECT 1 AS n').n;
			}
		}
		const db = new Own(':memory:');
		assert.equal(db.one(), 1);
		assert.equal(db instanceof DatabaseSync, true);
	});

	it('tells libraries what it is', () => {
		assert.equal(memory()[Symbol.for('sqlite-type')], 'node:sqlite');
	});

	it('refuses methods on what is no database', () => {
		assert.throws(() => DatabaseSync.prototype.exec.call({}, 'SELECT 1'), { name: 'TypeError', message: 'Illegal invocation' });
	});
});

describe('new DatabaseSync(): options', () => {
	for (const options of [undefined, null, 5, 'x', true]) {
		it(`refuses ${options} for them`, () => throwsType(() => new DatabaseSync(':memory:', options), 'The "options" argument must be an object.'));
	}

	for (const option of ['open', 'readOnly', 'enableForeignKeyConstraints', 'enableDoubleQuotedStringLiterals', 'allowExtension', 'readBigInts',
		'returnArrays', 'allowBareNamedParameters', 'allowUnknownNamedParameters', 'defensive']) {
		it(`wants a boolean for "${option}", or undefined`, () => {
			for (const value of [null, 0, 1, 'true', {}]) {
				throwsType(() => new DatabaseSync(':memory:', { [option]: value }), `The "options.${option}" argument must be a boolean.`);
			}
			new DatabaseSync(':memory:', { [option]: undefined });
		});
	}

	it('wants an integer for "timeout"', () => {
		for (const timeout of [1.5, 'x', null, 2 ** 40]) {
			throwsType(() => new DatabaseSync(':memory:', { timeout }), 'The "options.timeout" argument must be an integer.');
		}
		for (const timeout of [0, 1000, -1]) assert.equal(new DatabaseSync(':memory:', { timeout }).isOpen, true);
	});

	it('open: false leaves the opening to open()', () => {
		const db = new DatabaseSync(':memory:', { open: false });
		assert.equal(db.isOpen, false);
		throwsState(() => db.exec('SELECT 1'), 'database is not open');
		assert.equal(db.open(), undefined);
		assert.equal(db.isOpen, true);
	});

	it('readOnly: nothing is written, and the file must be there', () => {
		const file = freshPath();
		throwsSqlite(() => new DatabaseSync(file, { readOnly: true }), 14, 'unable to open database file');
		new DatabaseSync(file).exec('CREATE TABLE t(x)');
		const db = new DatabaseSync(file, { readOnly: true });
		throwsSqlite(() => db.exec('INSERT INTO t VALUES(1)'), 8, 'attempt to write a readonly database', 'attempt to write a readonly database');
		assert.deepEqual(db.prepare('SELECT * FROM t').all(), []);
	});

	it('enableForeignKeyConstraints: on unless it is false', () => {
		const sql = 'CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE c(p REFERENCES p)';
		throwsSqlite(() => memory(sql).exec('INSERT INTO c VALUES(1)'), 787, 'FOREIGN KEY constraint failed', 'constraint failed');
		const db = memory(sql, { enableForeignKeyConstraints: false });
		db.exec('INSERT INTO c VALUES(1)');
		assert.deepEqual(get(db, 'PRAGMA foreign_keys'), row({ foreign_keys: 0 }));
	});

	it('enableDoubleQuotedStringLiterals: off unless it is true', () => {
		throwsSqlite(() => memory().prepare('SELECT "x" AS x'), 1, /^no such column: "?x/);
		assert.deepEqual(get(memory('', { enableDoubleQuotedStringLiterals: true }), 'SELECT "x" AS x'), row({ x: 'x' }));
	});

	it('timeout: how long a lock is waited for, not at all unless it is given', () => {
		const file = freshPath();
		const [one, other] = [new DatabaseSync(file), new DatabaseSync(file)];
		one.exec('CREATE TABLE t(x); BEGIN IMMEDIATE');
		throwsSqlite(() => other.exec('BEGIN IMMEDIATE'), 5, 'database is locked', 'database is locked');
		assert.deepEqual(get(new DatabaseSync(file, { timeout: 1234 }), 'PRAGMA busy_timeout'), row({ timeout: 1234 }));
		assert.deepEqual(get(other, 'PRAGMA busy_timeout'), row({ timeout: 0 }));
	});

	it('readBigInts, returnArrays: what statements begin with', () => {
		assert.deepEqual(get(memory('', { readBigInts: true }), 'SELECT 1 AS n'), row({ n: 1n }));
		assert.deepEqual(get(memory('', { returnArrays: true }), 'SELECT 1 AS n, 2 AS n'), [1, 2]);
	});

	it('allowBareNamedParameters, allowUnknownNamedParameters: what statements begin with', () => {
		assert.deepEqual(get(memory(), 'SELECT $a AS a', { a: 1 }), row({ a: 1 }));
		throwsState(() => get(memory('', { allowBareNamedParameters: false }), 'SELECT $a AS a', { a: 1 }), "Unknown named parameter 'a'");
		assert.deepEqual(get(memory('', { allowUnknownNamedParameters: true }), 'SELECT $a AS a', { b: 1 }), row({ a: null }));
	});

	it('defensive: on unless it is false, and enableDefensive() changes it', () => {
		const spoil = "PRAGMA writable_schema = 1; UPDATE sqlite_schema SET sql = 'CREATE TABLE t(y)'";
		throwsSqlite(() => memory('CREATE TABLE t(x)').exec(spoil), 1, /may not be modified/);
		memory('CREATE TABLE t(x)', { defensive: false }).exec(spoil);
		const db = memory('CREATE TABLE t(x)');
		assert.equal(db.enableDefensive(false), undefined);
		db.exec(spoil);
		for (const value of [undefined, null, 1]) throwsType(() => db.enableDefensive(value), 'The "active" argument must be a boolean.');
	});
});

describe('limits', () => {
	const NAMES = ['length', 'sqlLength', 'column', 'exprDepth', 'compoundSelect', 'vdbeOp', 'functionArg', 'attach', 'likePatternLength', 'variableNumber', 'triggerDepth'];

	it('are all there, as numbers', () => {
		const { limits } = memory();
		assert.deepEqual(Object.keys(limits), NAMES);
		for (const name of NAMES) assert.equal(Number.isInteger(limits[name]) && limits[name] > 0, true, name);
	});

	it('hold for statements', () => {
		const db = memory('', { limits: { sqlLength: 100, compoundSelect: 2 } });
		assert.equal(db.limits.compoundSelect, 2);
		throwsSqlite(() => db.prepare(`SELECT '${'x'.repeat(200)}'`), 18, /too (big|long)/);
		throwsSqlite(() => db.prepare('SELECT 1 UNION SELECT 2 UNION SELECT 3'), 1, 'too many terms in compound SELECT');
		db.limits.compoundSelect = 3;
		assert.equal(db.prepare('SELECT 1 UNION SELECT 2 UNION SELECT 3').all().length, 3);
	});

	it('rise again to what SQLite was compiled with, by Infinity', () => {
		const db = memory();
		const most = db.limits.attach;
		db.limits.attach = 1;
		assert.equal(db.limits.attach, 1);
		db.limits.attach = Infinity;
		assert.equal(db.limits.attach, most);
	});

	it('are integers that are not negative', () => {
		const db = memory();
		for (const value of ['x', 1.5, null, undefined, 2 ** 40, NaN]) {
			throwsType(() => { db.limits.column = value; }, 'Limit value must be a non-negative integer or Infinity.');
		}
		throwsRange(() => { db.limits.column = -1; }, 'Limit value must be non-negative.');
		for (const column of ['x', 1.5, null, Infinity, 2 ** 40]) {
			throwsType(() => memory('', { limits: { column } }), 'The "options.limits.column" argument must be an integer.');
		}
		throwsRange(() => memory('', { limits: { column: -1 } }), 'The "options.limits.column" argument must be non-negative.');
		throwsType(() => memory('', { limits: null }), 'The "options.limits" argument must be an object.');
		assert.equal(memory('', { limits: { other: 'x', column: undefined } }).isOpen, true);
	});

	it('are those of the open connection', () => {
		const db = memory('', { limits: { attach: 2 } });
		const { limits } = db;
		assert.equal(limits.attach, 2);
		limits.attach = 1;
		db.close();
		throwsState(() => limits.attach, 'database is not open');
		throwsState(() => { limits.attach = 3; }, 'database is not open');
		db.open();
		assert.equal(limits.attach, 1);
		assert.equal(db.limits, limits);
	});
});

describe('close() and open()', () => {
	it('close a database, which is not open any more', () => {
		const db = memory();
		assert.equal(db.isOpen, true);
		assert.equal(db.close(), undefined);
		assert.equal(db.isOpen, false);
		throwsState(() => db.close(), 'database is not open');
	});

	it('refuse an open database, and open a closed one again, from the start', () => {
		const db = memory('CREATE TABLE t(x)');
		throwsState(() => db.open(), 'database is already open');
		db.close();
		db.open();
		throwsSqlite(() => db.exec('SELECT * FROM t'), 1, 'no such table: t');
	});

	it('dispose() closes, and minds no database that is closed', () => {
		const db = memory();
		assert.equal(db[Symbol.dispose](), undefined);
		assert.equal(db.isOpen, false);
		assert.equal(db[Symbol.dispose](), undefined);
	});

	it('finalize the statements', () => {
		const db = memory();
		const statement = db.prepare('SELECT 1');
		db.close();
		throwsState(() => statement.all(), 'statement has been finalized');
		db.open();
		throwsState(() => statement.all(), 'statement has been finalized');
	});

	it('roll an open transaction back', () => {
		const file = freshPath();
		const db = new DatabaseSync(file);
		db.exec('CREATE TABLE t(x); BEGIN; INSERT INTO t VALUES(1)');
		db.close();
		db.open();
		assert.equal(db.isTransaction, false);
		assert.deepEqual(db.prepare('SELECT * FROM t').all(), []);
	});

	it('keep what was set, but for functions', () => {
		const db = memory('', { allowExtension: true });
		db.enableDefensive(false);
		db.enableLoadExtension(false);
		db.function('one', () => 1);
		db.setAuthorizer((action, name) => (name === 'secret' ? sqlite.constants.SQLITE_DENY : sqlite.constants.SQLITE_OK));
		db.close();
		db.open();
		db.exec("CREATE TABLE t(x); PRAGMA writable_schema = 1; UPDATE sqlite_schema SET sql = 'CREATE TABLE t(y)'");
		throwsState(() => db.loadExtension('/none'), 'extension loading is not allowed');
		throwsSqlite(() => db.exec('CREATE TABLE secret(x)'), 23, 'not authorized');
		throwsSqlite(() => db.exec('SELECT one()'), 1, 'no such function: one');
	});

	it('leave nothing to be done with a closed database', () => {
		const db = memory();
		db.close();
		const calls = {
			exec: ['SELECT 1'], prepare: ['SELECT 1'], location: [], function: ['f', () => 1], aggregate: ['f', { start: 0, step: () => 1 }],
			createSession: [], applyChangeset: [new Uint8Array(0)], createTagStore: [], serialize: [], deserialize: [new Uint8Array(9)], setAuthorizer: [null],
			enableDefensive: [true], enableLoadExtension: [false], loadExtension: ['x'], createModule: ['m', {}],
		};
		for (const [name, given] of Object.entries(calls)) throwsState(() => db[name](...given), 'database is not open');
		throwsState(() => db.isTransaction, 'database is not open');
	});
});

describe('isTransaction, location()', () => {
	it('tell whether a transaction is open', () => {
		const db = letters();
		assert.equal(db.isTransaction, false);
		db.exec('BEGIN');
		assert.equal(db.isTransaction, true);
		db.exec('ROLLBACK');
		assert.equal(db.isTransaction, false);
	});

	it('tell where a database is', () => {
		const [file, other] = [freshPath(), freshPath()];
		const db = new DatabaseSync(file);
		db.exec(`ATTACH '${other}' AS other; ATTACH ':memory:' AS fleeting`);
		assert.equal(db.location(), file);
		assert.equal(db.location(undefined), file);
		assert.equal(db.location('main'), file);
		assert.equal(db.location('other'), other);
		assert.equal(db.location('fleeting'), null);
		assert.equal(db.location('none'), null);
		for (const name of [null, 5, {}]) throwsType(() => db.location(name), 'The "dbName" argument must be a string.');
	});
});

describe('loadExtension()', () => {
	it('is not allowed unless the database was opened so', () => {
		const db = memory();
		throwsState(() => db.loadExtension('/none'), 'extension loading is not allowed');
		throwsState(() => db.enableLoadExtension(true), 'Cannot enable extension loading because it was disabled at database creation.');
		assert.equal(db.enableLoadExtension(false), undefined);
		for (const value of [undefined, null, 1]) throwsType(() => db.enableLoadExtension(value), 'The "allow" argument must be a boolean.');
	});

	it('says in the words of the system why a library cannot be loaded', () => {
		const db = memory('', { allowExtension: true });
		throws(() => db.loadExtension('/none/such'), Error, 'ERR_LOAD_SQLITE_EXTENSION', /none\/such/);
		throws(() => db.loadExtension('/none/such', 'entry'), Error, 'ERR_LOAD_SQLITE_EXTENSION', /none\/such/);
		throwsType(() => db.loadExtension(5), 'The "path" argument must be a string.');
	});

	it('can be forbidden and allowed again', () => {
		const db = memory('', { allowExtension: true });
		db.enableLoadExtension(false);
		throwsState(() => db.loadExtension('/none/such'), 'extension loading is not allowed');
		db.enableLoadExtension(true);
		throws(() => db.loadExtension('/none/such'), Error, 'ERR_LOAD_SQLITE_EXTENSION');
	});

	it('is never a matter of SQL', () => {
		throwsSqlite(() => get(memory('', { allowExtension: true }), "SELECT load_extension('/none/such')"), 1, 'not authorized');
	});
});

describe('what is not said', () => {
	it('leaves commits waiting for the disk in WAL mode too', () => {
		const database = new DatabaseSync(freshPath());
		database.exec('PRAGMA journal_mode = WAL');
		assert.equal(database.prepare('PRAGMA synchronous').get().synchronous, 2);
		database.close();
	});
});
