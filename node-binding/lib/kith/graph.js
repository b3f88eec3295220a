'use strict';
// db.kith.graph(): a graph that the file declares, and the questions about it, as the rows of the SQL functions.

const { checkOptions, checkString } = require('../check');

class Graph {
	#database;
	#name;

	constructor(database, name) {
		this.#database = database;
		this.#name = name;
	}

	get name() {
		return this.#name;
	}

	/** The nodes reached from one, by their depth: the rows of kith_traverse. */
	traverse(start, options = {}) {
		return this.#ask('kith_traverse', [idOf(start)], options);
	}

	/** The edges of a node: the rows of kith_neighbors. */
	neighbors(node, options = {}) {
		return this.#ask('kith_neighbors', [idOf(node)], options);
	}

	/** The steps of a shortest path, none if there is no path: the rows of kith_shortest_path. */
	shortestPath(from, to, options = {}) {
		return this.#ask('kith_shortest_path', [idOf(from), idOf(to)], options);
	}

	/** Which nodes hang together: the rows of kith_components. */
	components(options = {}) {
		return this.#ask('kith_components', [], options);
	}

	/** The nodes by how much they are referred to: the rows of kith_pagerank. */
	pagerank(options = {}) {
		return this.#ask('kith_pagerank', [], options);
	}

	/** Groups of nodes: the rows of kith_communities. */
	communities(options = {}) {
		return this.#ask('kith_communities', [], options);
	}

	/** Forgets the graph; the tables stay. */
	drop() {
		this.#database.prepare('SELECT kith_graph_drop(?)').pluck().get(this.#name);
	}

	#ask(question, ids, options) {
		checkOptions(options, ['first', 'second', 'third'][ids.length]);
		const { limit, ...rest } = options;
		if (limit !== undefined && !(Number.isSafeInteger(limit) && limit >= 0)) {
			throw new TypeError('Expected the "limit" option of a graph to be a whole number, 0 or more');
		}
		const marks = ['?', ...ids.map(() => '?'), '?'].join(', ');
		const sql = `SELECT * FROM ${question}(${marks})${limit === undefined ? '' : ` LIMIT ${limit}`}`;
		return this.#database.prepare(sql).all(this.#name, ...ids, JSON.stringify(rest));
	}
}

/** Returns an id as it is bound: a whole number as INTEGER, for as REAL it is written `42.0` in paths and equals no text. */
function idOf(id) {
	return Number.isSafeInteger(id) ? BigInt(id) : id;
}

/** Returns a graph by its name, which is declared first if a definition is given. */
function graphOf(database, name, definition) {
	checkString(name, 'first');
	if (definition !== undefined) {
		checkOptions(definition, 'second');
		database.prepare('SELECT kith_graph(?, ?)').pluck().get(name, JSON.stringify(definition));
	}
	return new Graph(database, name);
}

module.exports = { graphOf };
