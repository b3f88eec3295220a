'use strict';
const { describe, it } = require('node:test');
const assert = require('node:assert/strict');
const { Database, SqliteError, freshPath } = require('./support');
const { founder } = require('./peers');

function fill(db) {
	db.exec(`
		CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT);
		CREATE TABLE follows (src INTEGER, dst INTEGER, kind TEXT, cost REAL, PRIMARY KEY (src, dst));
		INSERT INTO people VALUES (1, 'ann'), (2, 'bob'), (3, 'cy'), (4, 'dee');
		INSERT INTO follows VALUES (1, 2, 'knows', 1), (2, 3, 'knows', 1), (1, 3, 'likes', 5);
	`);
	return db;
}

const definition = { nodes: 'people', edges: 'follows', from: 'src', to: 'dst', type: 'kind', weight: 'cost' };

for (const [name, open] of [
	['a plain database', () => fill(new Database(freshPath()))],
	['a database in memory', () => fill(new Database(':memory:'))],
	['a replica', () => {
		const db = fill(founder());
		db.kith.sync('follows');
		return db;
	}],
]) {
	describe(`db.kith.graph() on ${name}`, () => {
		it('declares a graph and answers questions about it', () => {
			const db = open();
			const graph = db.kith.graph('social', definition);
			assert.equal(graph.name, 'social');
			assert.deepEqual(graph.traverse(1).map(({ node, depth, type, path }) => [node, depth, type, path]), [
				[2, 1, 'knows', '[1,2]'], [3, 1, 'likes', '[1,3]'],
			]);
			assert.deepEqual(graph.traverse(1, { type: 'knows', depth: [2, 3] }).map(({ node }) => node), [3]);
			assert.deepEqual(graph.traverse(1, { limit: 1 }).length, 1);
			assert.deepEqual(graph.neighbors(3, { direction: 'in' }).map(({ node, weight }) => [node, weight]).sort(), [[1, 5], [2, 1]]);
			assert.deepEqual(graph.shortestPath(1, 3).map(({ node, cost }) => [node, cost]), [[1, 0], [2, 1], [3, 2]]);
			assert.deepEqual(graph.shortestPath(1, 3, { weighted: false }).map(({ node }) => node), [1, 3]);
			assert.deepEqual(graph.shortestPath(3, 1), []);
			assert.deepEqual(graph.components().map(({ node, component, size }) => [node, component, size]), [[1, 1, 3], [2, 1, 3], [3, 1, 3], [4, 2, 1]]);
			assert.equal(graph.pagerank()[0].node, 3);
			assert.ok(Math.abs(graph.pagerank().reduce((sum, { rank }) => sum + rank, 0) - 1) < 1e-9);
			assert.equal(graph.communities().length, 4);
			// The declaration is in the file; a handle needs none.
			assert.deepEqual(db.kith.graph('SOCIAL').traverse(2).map(({ node }) => node), [3]);
			const [{ name: listed, missing_indexes: missing }] = db.kith.graphs();
			assert.equal(listed, 'social');
			assert.match(missing, /^CREATE INDEX "follows_by_dst" ON "follows"\("dst", /);
			graph.drop();
			assert.deepEqual(db.kith.graphs(), []);
			assert.throws(() => graph.traverse(1), (error) => error instanceof SqliteError && error.code === 'SQLITE_ERROR' && /no graph social;/.test(error.message));
			db.close();
		});
	});
}

describe('a graph', () => {
	it('takes its edges from foreign keys', () => {
		const db = new Database(':memory:');
		db.exec('CREATE TABLE staff (id TEXT PRIMARY KEY, boss TEXT REFERENCES staff); INSERT INTO staff VALUES (\'a\', NULL), (\'b\', \'a\'), (\'c\', \'b\')');
		assert.deepEqual(db.kith.graph('staff', {}).traverse('c').map(({ node, type }) => [node, type]), [['b', 'staff.boss'], ['a', 'staff.boss']]);
		db.close();
	});

	it('refuses what is no name, definition or option, and names it', () => {
		const db = fill(new Database(':memory:'));
		assert.throws(() => db.kith.graph(), TypeError);
		assert.throws(() => db.kith.graph('social', 'follows'), TypeError);
		const graph = db.kith.graph('social', definition);
		assert.throws(() => graph.traverse(1, { limit: -1 }), TypeError);
		assert.throws(() => graph.traverse(1, { dept: 1 }), /kith_traverse has no option "dept"; it has direction, depth/);
		assert.throws(() => db.kith.graph('other', { edges: 'nowhere', from: 'a', to: 'b' }), /there is no table nowhere/);
		assert.throws(() => db.kith.graph('missing').traverse(1), /there is no graph missing; declare it with SELECT kith_graph\('missing'/);
		db.close();
	});
});

it('whole numbers are ids of integer columns and of text columns, and are written so in paths', () => {
	for (const type of ['INTEGER', 'TEXT']) {
		const db = new Database(':memory:');
		db.exec(`CREATE TABLE follows(src ${type}, dst ${type}); INSERT INTO follows VALUES (42, 1), (1, 9)`);
		const graph = db.kith.graph('social', { edges: 'follows', from: 'src', to: 'dst' });
		const ids = (...list) => JSON.stringify(type === 'TEXT' ? list.map(String) : list);
		assert.deepEqual(graph.traverse(42).map((row) => row.path), [ids(42, 1), ids(42, 1, 9)]);
		assert.deepEqual(graph.shortestPath(42, 9).map((row) => row.path), [ids(42), ids(42, 1), ids(42, 1, 9)]);
		assert.equal(graph.neighbors(1).length, 1);
		db.close();
	}
});
