'use strict';
// db.kith.search: which of the table-valued functions is asked, and with what.

const { types } = require('util');
const { checkString } = require('../check');
const { readOptions } = require('./options');

const TEXT = {
	limit: 'count', match: 'match', columns: 'strings', weights: 'object', where: 'object', before: 'string', after: 'string',
	words: 'count', hybrid: 'boolean',
};
const FUZZY = { limit: 'count', fuzzy: 'string', min: 'share', where: 'object' };
const HYBRID = {
	limit: 'count', embedding: 'embedding', hybrid: 'boolean', weights: 'object', where: 'object', pool: 'count', match: 'match', index: 'string',
};

const LIMIT = 10;

/** Returns the statement of a search and what is bound to it. */
function searchStatement(table, text, options) {
	const { fuzzy, embedding, hybrid } = options ?? {};
	if (fuzzy !== undefined) {
		checkString(text, 'second');
		const { limit = LIMIT, fuzzy: column, ...rest } = readOptions('search', options, FUZZY);
		return {
			sql: 'SELECT key, value, score, distance FROM kith_fuzzy(?, ?, ?, ?, ?)',
			given: [table, column, text, limit, JSON.stringify(rest)],
		};
	}
	if (embedding !== undefined || hybrid) {
		// Without an embedding, the model that the table's embeddings are by embeds the text.
		if (text !== null || embedding === undefined) checkString(text, 'second');
		const { limit = LIMIT, embedding: wanted, hybrid: _, ...rest } = readOptions('search', options, HYBRID);
		return {
			sql: 'SELECT key, score, text_rank, text_score, embedding_rank, distance FROM kith_hybrid(?, ?, ?, ?, ?)',
			given: [table, text, wanted === undefined ? null : toBlob(wanted), limit, JSON.stringify(rest)],
			needsModel: wanted === undefined,
		};
	}
	checkString(text, 'second');
	const { limit = LIMIT, hybrid: _, ...rest } = readOptions('search', options, TEXT);
	return {
		sql: 'SELECT key, score, snippet, highlight FROM kith_search(?, ?, ?, ?)',
		given: [table, text, limit, JSON.stringify(rest)],
	};
}

/** Refuses a table without a model where the text is to be embedded: kith_hybrid would then go by the text alone. */
function checkModel(database, table) {
	const sql = 'SELECT 1 FROM kith_vector_stats WHERE content = ? COLLATE NOCASE AND model IS NOT NULL';
	if (database.prepare(sql).get(table) !== undefined) return;
	throw new TypeError(`No kith_vector table over "${table}" declares a model that embeds the text; give the "embedding" option of db.kith.search, or create one with model=`);
}

function toBlob(embedding) {
	// A BLOB as one of the faces reads it.
	if (types.isUint8Array(embedding)) return embedding;
	const floats = Float32Array.from(embedding);
	return Buffer.from(floats.buffer, floats.byteOffset, floats.byteLength);
}

/** Makes of a row what is handed out: the highlight as an object of columns. */
function toRow(row) {
	if (typeof row.highlight === 'string') row.highlight = JSON.parse(row.highlight);
	return row;
}

module.exports = { searchStatement, checkModel, toRow };
