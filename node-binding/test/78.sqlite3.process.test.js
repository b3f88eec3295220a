'use strict';
const assert = require('node:assert/strict');
const { test } = require('node:test');
const { sqlite3, IS_ORIGINAL, SUBJECT, ask, open, memory, close, freshPath, runProgram } = require('./sqlite3-support');

function ends(program, expected, options) {
	const { status, signal, stdout, stderr } = runProgram(program, options);
	assert.deepEqual({ status, signal, stdout, stderr }, { status: 0, signal: null, stdout: expected, stderr: '' });
}

test('the program goes on until what was asked is done, and then ends by itself', () => {
	ends(`
		const db = new sqlite3.Database(':memory:');
		db.serialize(() => {
			db.run('CREATE TABLE t(a)');
			for (let i = 0; i < 1000; i += 1) db.run('INSERT INTO t VALUES(?)', i);
			db.get('SELECT count(*) AS n FROM t', (error, row) => console.log(row.n));
		});
	`, '1000\n');
});

test('an open database does not keep the program from its end', () => {
	ends("const db = new sqlite3.Database(':memory:'); db.prepare('SELECT 1');", '');
	// In the original a listener of these does.
	if (!IS_ORIGINAL) ends("new sqlite3.Database(':memory:').on('trace', () => {}).on('change', () => {});", '');
});

test('what was asked without a callback is done before the program ends', async () => {
	const file = freshPath();
	ends("const db = new sqlite3.Database(file); db.exec('CREATE TABLE t(a)'); for (let i = 0; i < 100; i += 1) db.run('INSERT INTO t VALUES(?)', i);", '', { file });
	const db = await open(file);
	assert.deepEqual(await ask(db, 'get', 'SELECT count(*) AS n FROM t'), { n: 100 });
	await close(db);
});

test('process.exit ends the program in the midst of work', () => {
	ends(`
		const db = new sqlite3.Database(':memory:');
		db.run('CREATE TABLE t(a)', () => {
			for (let i = 0; i < 1000; i += 1) db.run('INSERT INTO t VALUES(?)', i, () => {});
			db.all('WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) SELECT i FROM n', () => {});
			console.log('ends');
			process.exit(0);
		});
	`, 'ends\n');
});

test('what a callback throws is the program\'s to handle', () => {
	const program = (rest) => `
		process.on('uncaughtException', (error) => {
			console.log(error.message);
			${rest}
		});
		const db = new sqlite3.Database(':memory:');
		db.serialize();
		db.get('SELECT 1', () => {
			throw new Error('thrown');
		});
		db.each('SELECT 1 UNION SELECT 2', (error, row) => {
			throw new Error('thrown for a row');
		});
		db.get('SELECT 1', () => console.log('went on'));
	`;
	ends(program('process.exit(0);'), 'thrown\n');
	// The original never calls back again.
	if (!IS_ORIGINAL) ends(program(''), 'thrown\nthrown for a row\nthrown for a row\nwent on\n');
});

test('what a callback throws ends the program unless that is handled', () => {
	const { status, stderr, stdout } = runProgram(`
		const db = new sqlite3.Database(':memory:');
		db.get('SELECT 1', () => {
			throw new Error('thrown');
		});
		setTimeout(() => console.log('went on'), 2000);
	`);
	assert.notEqual(status, 0);
	assert.match(stderr, /Error: thrown/);
	assert.equal(stdout, '');
});

test('promises of a callback are settled before the next callback', async () => {
	const db = await memory();
	const heard = [];
	await new Promise((resolve) => {
		for (let i = 0; i < 10; i += 1) {
			db.get('SELECT ?', i, () => {
				heard.push(i);
				Promise.resolve().then(() => heard.push(`after ${i}`));
				process.nextTick(() => heard.push(`tick ${i}`));
				if (i === 9) setImmediate(resolve);
			});
		}
	});
	const numbers = heard.filter((value) => typeof value === 'number');
	assert.equal(numbers.length, 10);
	numbers.forEach((number) => {
		const start = heard.indexOf(number);
		assert.deepEqual(heard.slice(start, start + 3), [number, `tick ${number}`, `after ${number}`]);
	});
	await close(db);
});

test('a hundred thousand calls at once are all answered', async () => {
	const db = await memory('CREATE TABLE t(a INTEGER PRIMARY KEY, b)');
	const insert = db.prepare('INSERT INTO t VALUES(?, ?)');
	let answered = 0;
	await ask(db, 'run', 'BEGIN');
	for (let i = 1; i <= 100000; i += 1) {
		insert.run(i, 'text', (error) => {
			assert.equal(error, null);
			answered += 1;
		});
	}
	await ask(insert, 'finalize');
	await ask(db, 'run', 'COMMIT');
	assert.equal(answered, 100000);
	assert.deepEqual(await ask(db, 'get', 'SELECT count(*) AS n, max(a) AS last FROM t'), { n: 100000, last: 100000 });
	await close(db);
});

test('databases and statements that are given up are collected', () => {
	// The original does not let go of a database whose statement was given up before it was prepared.
	ends(`
		let open = 200;
		function next() {
			if (open === 0) {
				console.log('done');
				return;
			}
			open -= 1;
			const db = new sqlite3.Database(':memory:');
			const statement = db.prepare('SELECT ? AS n');
			statement.get(open, (error, row) => {
				if (row.n !== open) throw new Error('wrong');
				if (open % 20 === 0) gc();
				setImmediate(next);
			});
		}
		next();
	`, 'done\n', { args: ['--expose-gc'] });
});

test('a database that is closed leaves nothing behind', async () => {
	const statements = [];
	for (let i = 0; i < 50; i += 1) {
		const db = await memory();
		const statement = db.prepare('SELECT 1 AS one');
		statements.push(statement);
		await ask(statement, 'get');
		statement.finalize();
		await close(db);
	}
	// Its statements still refuse what they are asked for.
	for (const statement of statements) {
		const error = await new Promise((resolve) => statement.get(resolve));
		assert.equal(error.message, 'SQLITE_MISUSE: Statement is already finalized');
	}
	if (process.platform !== 'linux') return;
	const threads = () => require('node:fs').readdirSync('/proc/self/task').length;
	// A thread ends a moment after it is let go.
	for (let i = 0; threads() > 25; i += 1) {
		assert.ok(i < 100000, `${threads()} threads are left`);
		await new Promise((resolve) => setImmediate(resolve));
	}
});

test('a statement that is given up is finalized when it is collected', () => {
	ends(`
		const db = new sqlite3.Database(':memory:');
		db.prepare('SELECT 1').get(() => {});
		const again = () => {
			gc();
			db.close((error) => {
				if (error) setTimeout(again, 5);
				else console.log('closed');
			});
		};
		setTimeout(again, 5);
	`, 'closed\n', { args: ['--expose-gc'] });
});

test('workers use databases and may end at any time', () => {
	const worker = `
		const sqlite3 = require(${JSON.stringify(SUBJECT)});
		const { parentPort, workerData } = require('worker_threads');
		const db = new sqlite3.Database(workerData.file);
		db.configure('busyTimeout', 60000);
		db.run('INSERT INTO t VALUES(?)', workerData.number, (error) => {
			parentPort.postMessage(error ? error.message : 'inserted');
			for (let i = 0; i < 200; i += 1) db.get('SELECT count(*) FROM t', () => {});
			if (workerData.number % 3 === 0) process.exit(0);
			if (workerData.number % 3 === 1) db.each('WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000) SELECT i FROM n', () => {});
		});
	`;
	const program = `
		const { Worker } = require('worker_threads');
		const db = new sqlite3.Database(file);
		db.exec('PRAGMA journal_mode = WAL; CREATE TABLE t(a)', async () => {
			let inserted = 0;
			for (let round = 0; round < 4; round += 1) {
				await Promise.all(Array.from({ length: 4 }, (_, index) => new Promise((resolve, reject) => {
					const started = new Worker(${JSON.stringify(worker)}, { eval: true, workerData: { file, number: 4 * round + index } });
					started.on('message', (message) => {
						inserted += Number(message === 'inserted');
						if (index === 3) started.terminate();
					});
					started.on('error', reject);
					started.on('exit', resolve);
				})));
			}
			console.log(inserted);
			db.close();
		});
	`;
	// The original crashes when a worker ends while work is under way.
	if (!IS_ORIGINAL) ends(program, '16\n', { file: freshPath() });
});

test('rows are not collected without limit while the program is busy', async () => {
	const db = await memory();
	let rows = 0;
	let most = 0;
	const before = process.memoryUsage().rss;
	const count = await new Promise((resolve) => {
		db.each("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) SELECT i, 'a text of some length, which is the same in every row' AS t FROM n", () => {
			rows += 1;
			if (rows % 10000 === 0) most = Math.max(most, process.memoryUsage().rss - before);
		}, (error, n) => resolve(n));
	});
	assert.equal(count, 300000);
	// The original reads ahead as far as it comes: 300,000 rows are far more.
	if (!IS_ORIGINAL) assert.ok(most < 150 * 1024 * 1024, `${most} bytes more`);
	await close(db);
});

test('code that may not compile code works, too', () => {
	ends(`
		const db = new sqlite3.Database(':memory:');
		db.all('WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100) SELECT i, i + 1 AS j FROM n', (error, rows) => {
			console.log(rows.length, rows[99].i, rows[99].j);
		});
	`, '100 100 101\n', { args: ['--disallow-code-generation-from-strings'] });
});
