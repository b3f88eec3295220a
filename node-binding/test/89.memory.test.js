'use strict';
// Ten million rows, one by one, in memory that does not grow. Ours only.
const { describe, it } = require('node:test');
const assert = require('node:assert/strict');
const { runProgram } = require('./support');

const ROWS = 10_000_000;
const SQL = `WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < ${ROWS}) SELECT n FROM c`;
// What the allocators keep comes and goes; the least that could be left behind of a row is a pointer, eighty megabytes in all.
const GROWTH_MAX_BYTES = 32 << 20;

// Goes through the rows, and returns by how much the memory grew after the first million of them.
function growth(face, program) {
	const { status, stdout, stderr } = runProgram(`
		const face = require(${JSON.stringify(require.resolve(`../lib/${face}`))});
		const SQL = ${JSON.stringify(SQL)};
		let rows = 0;
		let sum = 0;
		let first;
		let most = 0;
		function take(n) {
			sum += n;
			rows += 1;
			if (rows % 1000000 !== 0) return;
			gc();
			const { rss } = process.memoryUsage();
			first ??= rss;
			most = Math.max(most, rss);
		}
		const end = () => console.log(JSON.stringify({ rows, sum, growth: most - first }));
		${program}
	`, { args: ['--expose-gc'] });
	assert.equal(status, 0, stderr);
	const told = JSON.parse(stdout);
	assert.deepEqual([told.rows, told.sum], [ROWS, ROWS * (ROWS + 1) / 2]);
	return told.growth;
}

describe('ten million rows take no more memory than one million', () => {
	for (const [name, face, program] of [
		['iterate()', 'index.js', "for (const { n } of new face(':memory:').prepare(SQL).iterate()) take(n); end();"],
		['iterate() of node:sqlite', 'node-sqlite/index.js', "for (const { n } of new face.DatabaseSync(':memory:').prepare(SQL).iterate()) take(n); end();"],
		['each() of sqlite3', 'sqlite3/index.js', "new face.Database(':memory:').each(SQL, (error, { n }) => take(n), end);"],
	]) {
		it(name, () => {
			const bytes = growth(face, program);
			assert.ok(bytes < GROWTH_MAX_BYTES, `it grew by ${bytes} bytes`);
		});
	}
});
