'use strict';
// db.kith.search. Ours only.
const assert = require('node:assert/strict');
const { test } = require('node:test');
const Database = require('..');
const { freshPath, throws } = require('./support');

const { SqliteError } = Database;

function filled(db) {
	db.exec(`CREATE TABLE notes(id TEXT PRIMARY KEY, lang TEXT, title TEXT, body TEXT);
		INSERT INTO notes VALUES ('a', 'en', 'Wine', 'red wine from the south'), ('b', 'de', 'Wein', 'red or white'),
			('c', 'en', 'John Smith', 'a name')`);
	return db;
}

test('a text finds rows, best first, with what fits marked', () => {
	const db = filled(new Database(':memory:'));
	db.exec("SELECT kith_text('notes', 'title,body')");
	const found = db.kith.search('notes', 'red wine');
	assert.deepEqual(found.map((row) => row.key), ['a', 'b']);
	assert.ok(found[0].score > found[1].score);
	assert.deepEqual(found[0].highlight, { title: '[Wine]', body: '[red] [wine] from the south' });
	assert.equal(found[1].snippet, '[red] or white');
	assert.deepEqual(db.kith.search('notes', 'red', { where: { lang: 'de' } }).map((row) => row.key), ['b']);
	assert.deepEqual(db.kith.search('notes', 'red wine', { match: 'all', limit: 5 }).map((row) => row.key), ['a']);
	assert.deepEqual(db.kith.search('notes', 'wine', { columns: ['body'], before: '<', after: '>' })[0].snippet, 'red <wine> from the south');
	assert.deepEqual(db.kith.search('notes', '"('), []);
	db.close();
});

test('a misspelt value is found', () => {
	const db = filled(new Database(':memory:'));
	const [row] = db.kith.search('notes', 'jon smth', { fuzzy: 'title' });
	assert.deepEqual(row, { key: 'c', value: 'John Smith', score: 0.8, distance: 2 });
	assert.deepEqual(db.kith.search('notes', 'jon smth', { fuzzy: 'title', min: 0.9 }), []);
	db.close();
});

test('a table without index, and wrong options, are named with the remedy', () => {
	const db = filled(new Database(':memory:'));
	throws(() => db.kith.search('notes', 'x'), SqliteError, /"notes" has no text index; run SELECT kith_text\('notes', 'lang,title,body'\)/, 'SQLITE_ERROR');
	throws(() => db.kith.search('notes', 'x', { embedding: [1, 2] }), SqliteError, /"notes" has no text index/, 'SQLITE_ERROR');
	throws(() => db.kith.search('notes', null, { embedding: [1, 2] }), SqliteError, /"notes" has no index of embeddings/, 'SQLITE_ERROR');
	throws(() => db.kith.search('notes'), TypeError, 'Expected second argument to be a string');
	throws(() => db.kith.search(1, 'x'), TypeError, 'Expected first argument to be a string');
	throws(() => db.kith.search('notes', 'x', { k: 1 }), TypeError, /db.kith.search has no option "k"; it has limit, match/);
	throws(() => db.kith.search('notes', 'x', { limit: 0 }), TypeError, /Expected the "limit" option .* whole number above 0/);
	db.close();
});

test('text and embedding are asked together', () => {
	const db = filled(new Database(freshPath()));
	db.exec(`CREATE TABLE docs(id INTEGER PRIMARY KEY, body TEXT, embedding BLOB);
		CREATE VIRTUAL TABLE doc_embeddings USING kith_vector(content=docs, column=embedding, dims=2);
		SELECT kith_text('docs', 'body')`);
	const insert = db.prepare('INSERT INTO docs(body, embedding) VALUES (?, vec_f32(?))');
	for (const [body, embedding] of [['red', '[1,0]'], ['red wine', '[0,1]'], ['white', '[0.9,0.1]']]) insert.run(body, embedding);
	const found = db.kith.search('docs', 'wine', { embedding: new Float32Array([0, 1]), limit: 2 });
	assert.deepEqual({ ...found[0], score: undefined, text_score: undefined, distance: undefined }, {
		key: 2, score: undefined, text_rank: 1, text_score: undefined, embedding_rank: 1, distance: undefined,
	});
	assert.equal(found[0].score, 2 / 61);
	assert.deepEqual(db.kith.search('docs', null, { embedding: [1, 0] }).map((row) => row.key), [1, 3, 2]);
	// As the faces read a BLOB.
	const { embedding } = db.prepare('SELECT embedding FROM docs WHERE id = 1').get();
	for (const bytes of [embedding, new Uint8Array(embedding)]) {
		assert.deepEqual(db.kith.search('docs', null, { embedding: bytes }).map((row) => row.key), [1, 3, 2]);
	}
	throws(() => db.kith.search('docs', 'wine', { hybrid: true }), TypeError, /^No kith_vector table over "docs" declares a model .* with model=$/);
	throws(() => db.kith.search('docs', null, { embedding: new Float64Array(2) }), TypeError, /Expected the "embedding" option .* Float32Array, an array of numbers/);
	db.close();
});

test('a text is searched for by the model that the embeddings are by', async () => {
	const db = new Database(freshPath());
	// The index of the text first: a SELECT that writes cannot wait for the thread that embeds.
	db.exec(`CREATE TABLE docs(id INTEGER PRIMARY KEY, body TEXT, embedding BLOB);
		SELECT kith_text('docs', 'body');
		CREATE VIRTUAL TABLE doc_embeddings USING kith_vector(content=docs, column=embedding, source=body, model=lexical-1);
		INSERT INTO docs(body) VALUES ('red wine'), ('a grey coat'), ('red wines')`);
	assert.throws(() => db.kith.search('docs', null, { hybrid: true }), TypeError);
	// Embedded in the background.
	const toEmbed = db.prepare('SELECT to_embed FROM kith_vector_stats').pluck();
	for (let looks = 0; toEmbed.get() > 0; looks++) {
		assert.ok(looks < 600, 'nothing is embedded');
		await new Promise((resolve) => setTimeout(resolve, 50));
	}
	const found = db.kith.search('docs', 'red wine', { hybrid: true, limit: 2 });
	assert.deepEqual(found.map(({ key, embedding_rank }) => [key, embedding_rank]), [[1, 1], [3, 2]]);
	assert.deepEqual(db.kith.search('docs', 'grey', { hybrid: false }).map(({ key }) => key), [2]);
	const near = db.prepare('SELECT rowid FROM doc_embeddings WHERE embedding MATCH ? AND k = 1').pluck();
	assert.equal(near.get('coats, grey'), 2);
	db.close();
});

test('without a background, a step embeds', () => {
	const db = new Database(':memory:');
	db.exec(`CREATE TABLE docs(id INTEGER PRIMARY KEY, body TEXT, embedding BLOB);
		CREATE VIRTUAL TABLE doc_embeddings USING kith_vector(content=docs, column=embedding, source=body, model=lexical-1);
		INSERT INTO docs(body) VALUES ('red wine'), ('a grey coat'), ('red wines')`);
	const step = db.prepare("SELECT kith_embed_pending('doc_embeddings', ?)").pluck();
	assert.ok(step.get(2) > 0);
	while (step.get(2) > 0);
	// Numbers are bound as REAL.
	const near = db.prepare('SELECT rowid FROM doc_embeddings WHERE embedding MATCH ? AND k = ? AND ef = ?').pluck();
	assert.deepEqual(near.all('red wine', 2, 50), [1, 3]);
	throws(() => near.all('red wine', 1.5, 50), SqliteError, /k is to be a whole number/, 'SQLITE_ERROR');
	assert.equal(db.prepare('SELECT count(*) FROM docs WHERE length(embedding) = 4 * 384').pluck().get(), 3);
	throws(() => db.prepare("SELECT kith_embed_pending('docs', 2)").get(), SqliteError, /"docs" is no kith_vector table with source=/, 'SQLITE_ERROR');
	db.close();
});
