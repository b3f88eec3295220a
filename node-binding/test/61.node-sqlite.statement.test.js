'use strict';
const { describe, it } = require('node:test');
const assert = require('node:assert/strict');
const {
	sqlite, memory, letters, row, get, throws, throwsType, throwsValue, throwsState, throwsRange, throwsSqlite, runProgram,
} = require('./node-sqlite-support');

describe('exec()', () => {
	it('runs all statements of a text and returns nothing', () => {
		const db = memory();
		assert.equal(db.exec('CREATE TABLE t(x); INSERT INTO t VALUES(1); SELECT * FROM t; -- the end'), undefined);
		assert.equal(db.exec(''), undefined);
		assert.deepEqual(db.prepare('SELECT * FROM t').all(), [row({ x: 1 })]);
	});

	it('stops at the first error; what came before it is done', () => {
		const db = memory('CREATE TABLE t(x)');
		throwsSqlite(() => db.exec('INSERT INTO t VALUES(1); nonsense; INSERT INTO t VALUES(2)'), 1, 'near "nonsense": syntax error', 'SQL logic error');
		assert.deepEqual(db.prepare('SELECT * FROM t').all(), [row({ x: 1 })]);
	});

	it('refuses what is no text', () => {
		for (const sql of [undefined, null, 5, {}, new String('SELECT 1')]) throwsType(() => memory().exec(sql), 'The "sql" argument must be a string.');
	});

	it('gives SQLite\'s extended codes', () => {
		throwsSqlite(() => letters().exec("INSERT INTO letters VALUES(1, 'again')"), 1555, 'UNIQUE constraint failed: letters.id', 'constraint failed');
		throwsSqlite(() => memory('CREATE TABLE t(x NOT NULL)').exec('INSERT INTO t VALUES(NULL)'), 1299, 'NOT NULL constraint failed: t.x');
		throwsSqlite(() => memory('CREATE TABLE t(x)').exec('CREATE TABLE t(x)'), 1, 'table t already exists');
	});
});

describe('prepare()', () => {
	it('prepares the first statement of a text', () => {
		const statement = memory().prepare('SELECT 1 AS n; SELECT 2 AS n; nonsense');
		assert.equal(statement instanceof sqlite.StatementSync, true);
		assert.deepEqual(statement.all(), [row({ n: 1 })]);
		assert.equal(statement.sourceSQL, 'SELECT 1 AS n;');
		assert.deepEqual(get(memory(), ' ; SELECT 1 AS n'), row({ n: 1 }));
	});

	it('refuses a text without statements, one that is wrong, and what is no text', () => {
		for (const sql of ['', '  ', ';', '-- nothing', '/* nothing */']) throwsValue(() => memory().prepare(sql), 'The SQL query contains no statements.');
		throwsSqlite(() => memory().prepare('nonsense'), 1, 'near "nonsense": syntax error', 'SQL logic error');
		throwsSqlite(() => memory().prepare('SELECT * FROM none'), 1, 'no such table: none');
		for (const sql of [undefined, null, 5, {}]) throwsType(() => memory().prepare(sql), 'The "sql" argument must be a string.');
	});

	it('takes the four settings, and a hint', () => {
		const db = memory();
		const prepare = (options, sql = 'SELECT 1 AS n, $a AS a') => db.prepare(sql, options);
		assert.deepEqual(prepare({ readBigInts: true }).get(), row({ n: 1n, a: null }));
		assert.deepEqual(prepare({ returnArrays: true }).get(), [1, null]);
		assert.deepEqual(prepare({ allowUnknownNamedParameters: true }).get({ b: 1 }), row({ n: 1, a: null }));
		throwsState(() => prepare({ allowBareNamedParameters: false }).get({ a: 1 }), "Unknown named parameter 'a'");
		assert.deepEqual(prepare({ persistent: true }).get(), row({ n: 1, a: null }));
		assert.deepEqual(prepare(undefined).get(), row({ n: 1, a: null }));
		for (const options of [null, 5, 'x']) throwsType(() => prepare(options), 'The "options" argument must be an object.');
		for (const name of ['readBigInts', 'returnArrays', 'allowBareNamedParameters', 'allowUnknownNamedParameters', 'persistent']) {
			throwsType(() => prepare({ [name]: 1 }), `The "options.${name}" argument must be a boolean.`);
		}
	});

	it('takes from the database what it is not told', () => {
		const db = memory('', { readBigInts: true, returnArrays: true });
		assert.deepEqual(db.prepare('SELECT 1 AS n', { readBigInts: false }).get(), [1]);
		assert.deepEqual(db.prepare('SELECT 1 AS n', { returnArrays: false }).get(), row({ n: 1n }));
	});

	it('is the only way to a statement', () => {
		throws(() => new sqlite.StatementSync(), Error, 'ERR_ILLEGAL_CONSTRUCTOR', 'Illegal constructor');
	});
});

describe('run()', () => {
	it('returns how many rows were changed, and the last one\'s key', () => {
		const db = memory('CREATE TABLE t(id INTEGER PRIMARY KEY, x)');
		const insert = db.prepare('INSERT INTO t(x) VALUES(?)');
		const result = insert.run('a');
		assert.deepEqual(result, { changes: 1, lastInsertRowid: 1 });
		assert.deepEqual(insert.run('b'), { changes: 1, lastInsertRowid: 2 });
		assert.deepEqual(db.prepare('UPDATE t SET x = 1').run(), { changes: 2, lastInsertRowid: 2 });
		assert.deepEqual(db.prepare('DELETE FROM t WHERE id = 9').run(), { changes: 0, lastInsertRowid: 2 });
		assert.deepEqual(db.prepare('DELETE FROM t').run(), { changes: 2, lastInsertRowid: 2 });
	});

	it('tells of other statements what the last one changed', () => {
		const db = letters();
		assert.deepEqual(db.prepare('SELECT 1').run(), { changes: 4, lastInsertRowid: 4 });
		assert.deepEqual(db.prepare('CREATE TABLE t(x)').run(), { changes: 4, lastInsertRowid: 4 });
		assert.deepEqual(db.prepare('BEGIN').run(), { changes: 4, lastInsertRowid: 4 });
	});

	it('does all that a statement with RETURNING does', () => {
		const db = letters();
		assert.deepEqual(db.prepare("INSERT INTO letters(letter) VALUES('e'), ('f') RETURNING id").run(), { changes: 2, lastInsertRowid: 6 });
		assert.equal(get(db, 'SELECT count(*) AS n FROM letters').n, 6);
	});

	it('returns bigints where integers are read as such, and no number that is not exact', () => {
		const db = memory('CREATE TABLE t(id INTEGER PRIMARY KEY)');
		const insert = db.prepare('INSERT INTO t VALUES(?)');
		throwsRange(() => insert.run(2n ** 53n), 'Value is too large to be represented as a JavaScript number: 9007199254740992');
		insert.setReadBigInts(true);
		assert.deepEqual(insert.run(2n ** 53n + 1n), { changes: 1n, lastInsertRowid: 2n ** 53n + 1n });
	});

	it('gives SQLite\'s errors and can be run again', () => {
		const db = letters();
		const insert = db.prepare('INSERT INTO letters VALUES(?, ?)');
		throwsSqlite(() => insert.run(1, 'x'), 1555, 'UNIQUE constraint failed: letters.id', 'constraint failed');
		assert.equal(insert.run(5, 'e').changes, 1);
		throwsSqlite(() => db.prepare('COMMIT').run(), 1, 'cannot commit - no transaction is active');
	});
});

describe('get()', () => {
	it('returns the first row, without prototype, or undefined', () => {
		const db = letters();
		const found = get(db, 'SELECT * FROM letters ORDER BY id');
		assert.deepEqual(found, row({ id: 1, letter: 'a' }));
		assert.equal(Object.getPrototypeOf(found), null);
		assert.equal(get(db, 'SELECT * FROM letters WHERE id = 9'), undefined);
		assert.equal(get(db, "INSERT INTO letters VALUES(9, 'i')"), undefined);
		assert.equal(get(db, 'SELECT count(*) AS n FROM letters').n, 5);
	});

	it('does all that a statement with RETURNING does', () => {
		const db = letters();
		assert.deepEqual(get(db, "INSERT INTO letters(letter) VALUES('e'), ('f') RETURNING id"), row({ id: 5 }));
		assert.equal(get(db, 'SELECT count(*) AS n FROM letters').n, 6);
	});
});

describe('all()', () => {
	it('returns all rows, without prototypes', () => {
		const all = letters().prepare('SELECT * FROM letters ORDER BY id').all();
		assert.deepEqual(all, [row({ id: 1, letter: 'a' }), row({ id: 2, letter: 'b' }), row({ id: 3, letter: 'c' }), row({ id: 4, letter: 'd' })]);
		assert.deepEqual(letters().prepare('SELECT * FROM letters WHERE id > 4').all(), []);
		assert.deepEqual(letters().prepare("INSERT INTO letters VALUES(9, 'i')").all(), []);
	});

	it('returns very many', () => {
		const sql = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) SELECT i, i * 2 AS twice, NULL AS z FROM n';
		const all = memory().prepare(sql).all();
		assert.equal(all.length, 5000);
		assert.deepEqual(all[4999], row({ i: 5000, twice: 10000, z: null }));
		assert.equal(all.every((one) => Object.getPrototypeOf(one) === null), true);
	});
});

describe('rows', () => {
	it('have what SQLite has: integers, reals, texts, blobs and nulls', () => {
		const found = get(memory(), "SELECT 7 AS i, 1.5 AS r, 'text' AS t, x'00ff' AS b, NULL AS n, -0.0 AS z, 1e400 AS inf, x'' AS e, '' AS s");
		assert.deepEqual(found, row({
			i: 7, r: 1.5, t: 'text', b: new Uint8Array([0, 255]), n: null, z: -0, inf: Infinity, e: new Uint8Array(0), s: '',
		}));
		assert.equal(Object.getPrototypeOf(found.b), Uint8Array.prototype);
		assert.equal(found.b.byteOffset, 0);
		assert.equal(found.b.buffer.byteLength, 2);
	});

	it('have texts of all characters, also zero and halves', () => {
		assert.deepEqual(get(memory(), "SELECT 'größe 😀' AS a, 'a' || char(0) || 'b' AS z, CAST(x'ff' AS TEXT) AS h"), row({ a: 'größe 😀', z: 'a\0b', h: '\ufffd' }));
	});

	it('have the last of columns of one name, in the place of the first', () => {
		const found = get(memory(), 'SELECT 1 AS a, 2 AS b, 3 AS a');
		assert.deepEqual(Object.entries(found), [['a', 3], ['b', 2]]);
	});

	it('have columns of any name', () => {
		const sql = 'SELECT 1 AS __proto__, 2 AS constructor, 3 AS "1", 4 AS "a b", 5 AS "q""x", 6 AS "\\", 7 AS toString, 8 AS ""';
		const statement = memory().prepare(sql);
		const expected = [['1', 3], ['__proto__', 1], ['constructor', 2], ['a b', 4], ['q"x', 5], ['\\', 6], ['toString', 7], ['', 8]];
		// More than a few, for rows may be made otherwise from some number on.
		for (let i = 0; i < 50; i += 1) {
			const found = statement.get();
			assert.deepEqual(Object.entries(found), expected);
			assert.equal(Object.getPrototypeOf(found), null);
		}
		const many = memory().prepare('WITH RECURSIVE n(__proto__) AS (SELECT 1 UNION ALL SELECT __proto__ + 1 FROM n WHERE __proto__ < 100) SELECT * FROM n').all();
		assert.equal(many.every((one, index) => Object.entries(one)[0][1] === index + 1 && Object.getPrototypeOf(one) === null), true);
	});

	it('can be of hundreds of columns', () => {
		const columns = Array.from({ length: 1500 }, (_, index) => `${index} AS c${index}`).join(', ');
		const statement = memory().prepare(`SELECT ${columns}`);
		for (let i = 0; i < 20; i += 1) assert.equal(statement.get().c1499, 1499);
		assert.equal(Object.keys(statement.all()[0]).length, 1500);
	});

	it('follow a change of the schema', () => {
		const db = letters();
		const statement = db.prepare('SELECT * FROM letters');
		for (let i = 0; i < 20; i += 1) statement.all();
		db.exec('ALTER TABLE letters ADD COLUMN added DEFAULT 5');
		assert.deepEqual(statement.get(), row({ id: 1, letter: 'a', added: 5 }));
		assert.deepEqual(statement.all()[3], row({ id: 4, letter: 'd', added: 5 }));
	});

	it('are made where code cannot be compiled from text, and where __proto__ is no accessor', () => {
		const { runProgram } = require('./node-sqlite-support');
		const program = `
			const db = new sqlite.DatabaseSync(':memory:');
			const sql = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100) SELECT i, 2 AS __proto__ FROM n';
			const all = db.prepare(sql).all();
			const wrong = all.filter((row, index) => Object.getPrototypeOf(row) !== null || row.i !== index + 1 || row['__proto__'] !== 2);
			console.log(all.length, wrong.length);`;
		for (const args of [['--disallow-code-generation-from-strings'], ['--disable-proto=delete'], ['--disable-proto=throw']]) {
			const result = runProgram(program, { args });
			assert.deepEqual([result.stdout.trim(), result.status], ['100 0', 0], result.stderr);
		}
	});
});

describe('setReadBigInts(), setReturnArrays()', () => {
	const BIG = 2n ** 53n;

	it('read integers as bigints, or numbers', () => {
		const statement = memory().prepare('SELECT 1 AS i, 1.0 AS r');
		assert.equal(statement.setReadBigInts(true), undefined);
		assert.deepEqual(statement.get(), row({ i: 1n, r: 1 }));
		statement.setReadBigInts(false);
		assert.deepEqual(statement.get(), row({ i: 1, r: 1 }));
	});

	it('have numbers that are not exact refused', () => {
		const statement = memory().prepare('SELECT ? AS i');
		for (const fit of [BIG - 1n, 1n - BIG]) assert.deepEqual(statement.get(fit), row({ i: Number(fit) }));
		for (const unfit of [BIG, -BIG, 2n ** 63n - 1n, -(2n ** 63n)]) {
			throwsRange(() => statement.get(unfit), `Value is too large to be represented as a JavaScript number: ${unfit}`);
			throwsRange(() => statement.all(unfit), `Value is too large to be represented as a JavaScript number: ${unfit}`);
		}
		statement.setReadBigInts(true);
		for (const any of [BIG, -BIG, 2n ** 63n - 1n, -(2n ** 63n)]) assert.deepEqual(statement.get(any), row({ i: any }));
	});

	it('return rows as arrays, or objects', () => {
		const statement = letters().prepare('SELECT id, letter FROM letters ORDER BY id');
		assert.equal(statement.setReturnArrays(true), undefined);
		assert.deepEqual(statement.get(), [1, 'a']);
		assert.deepEqual(statement.all(), [[1, 'a'], [2, 'b'], [3, 'c'], [4, 'd']]);
		assert.deepEqual([...statement.iterate()], [[1, 'a'], [2, 'b'], [3, 'c'], [4, 'd']]);
		statement.setReturnArrays(false);
		assert.deepEqual(statement.get(), row({ id: 1, letter: 'a' }));
	});

	it('want booleans, as the settings of parameters do', () => {
		const statement = memory().prepare('SELECT 1');
		for (const value of [undefined, null, 0, 1, 'true']) {
			throwsType(() => statement.setReadBigInts(value), 'The "readBigInts" argument must be a boolean.');
			throwsType(() => statement.setReturnArrays(value), 'The "returnArrays" argument must be a boolean.');
			throwsType(() => statement.setAllowBareNamedParameters(value), 'The "allowBareNamedParameters" argument must be a boolean.');
			throwsType(() => statement.setAllowUnknownNamedParameters(value), 'The "enabled" argument must be a boolean.');
		}
	});
});

describe('columns(), sourceSQL, expandedSQL', () => {
	it('describe the columns', () => {
		const columns = letters().prepare('SELECT id, letter AS shown, id + 1 FROM letters').columns();
		assert.deepEqual(columns, [
			row({ column: 'id', database: 'main', name: 'id', table: 'letters', type: 'INTEGER' }),
			row({ column: 'letter', database: 'main', name: 'shown', table: 'letters', type: 'TEXT' }),
			row({ column: null, database: null, name: 'id + 1', table: null, type: null }),
		]);
		assert.deepEqual(memory().prepare('CREATE TABLE t(x)').columns(), []);
	});

	it('show the text, and with it the values of the last run', () => {
		const statement = memory().prepare('SELECT ? AS a, $b AS b -- why');
		assert.equal(statement.sourceSQL, 'SELECT ? AS a, $b AS b -- why');
		assert.equal(statement.expandedSQL, 'SELECT NULL AS a, NULL AS b -- why');
		statement.get({ b: "it's" }, 2n);
		assert.equal(statement.expandedSQL, "SELECT 2 AS a, 'it''s' AS b -- why");
		statement.all({}, new Uint8Array([1, 2]));
		assert.equal(statement.expandedSQL, "SELECT x'0102' AS a, NULL AS b -- why");
		const long = 'x'.repeat(3000);
		statement.get({ b: long }, 1.5);
		assert.equal(statement.expandedSQL, `SELECT 1.5 AS a, '${long}' AS b -- why`);
		assert.deepEqual(Object.keys(statement), ['sourceSQL', 'expandedSQL']);
	});
});

describe('close()', () => {
	it('finalizes a statement', () => {
		const statement = memory().prepare('SELECT 1');
		assert.equal(statement.close(), undefined);
		const calls = [() => statement.get(), () => statement.all(), () => statement.run(), () => statement.iterate(), () => statement.columns(),
			() => statement.sourceSQL, () => statement.expandedSQL, () => statement.setReadBigInts(true), () => statement.setReturnArrays(true),
			() => statement.setAllowBareNamedParameters(true), () => statement.setAllowUnknownNamedParameters(true), () => statement.stat('run'),
			() => statement.resetStats(), () => statement.close()];
		for (const call of calls) throwsState(call, 'statement has been finalized');
	});

	it('has a gentle form', () => {
		const statement = memory().prepare('SELECT 1');
		assert.equal(statement[Symbol.dispose](), undefined);
		throwsState(() => statement.get(), 'statement has been finalized');
		assert.equal(statement[Symbol.dispose](), undefined);
	});
});

describe('stat(), resetStats()', () => {
	it('count what a statement did', () => {
		const statement = letters().prepare('SELECT * FROM letters ORDER BY letter');
		statement.all();
		statement.all();
		assert.equal(statement.stat('run'), 2);
		assert.equal(statement.stat('sort'), 2);
		assert.equal(statement.stat('fullscanStep'), 6);
		assert.equal(statement.stat('reprepare'), 0);
		for (const name of ['vmStep', 'memused']) assert.equal(statement.stat(name) > 0, true, name);
		for (const name of ['autoindex', 'filterMiss', 'filterHit']) assert.equal(statement.stat(name), 0, name);
		assert.equal(statement.resetStats(), undefined);
		for (const name of ['run', 'sort', 'fullscanStep', 'vmStep']) assert.equal(statement.stat(name), 0, name);
		assert.equal(statement.stat('memused') > 0, true);
	});

	it('know no other counters', () => {
		const statement = memory().prepare('SELECT 1');
		for (const name of ['', 'RUN', 'toString']) throwsValue(() => statement.stat(name), 'The "counter" argument is not a valid statistic name.');
		for (const name of [undefined, null, 5]) throwsType(() => statement.stat(name), 'The "counter" argument must be a string.');
	});
});

describe('memory', () => {
	it('does not grow with the statements that were prepared and dropped in one go', () => {
		const { status, stdout, stderr } = runProgram(`
			const database = new sqlite.DatabaseSync(':memory:');
			const prepare = (count) => { for (let i = 0; i < count; ++i) database.prepare('SELECT ?'); };
			prepare(20000);
			const before = process.memoryUsage().rss;
			prepare(300000);
			console.log(process.memoryUsage().rss - before);
		`);
		assert.equal(status, 0, stderr);
		assert.ok(Number(stdout) < 40e6, `grew by ${stdout} bytes`);
	});
});
