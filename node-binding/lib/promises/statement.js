'use strict';
// The class `Statement`, as promises.

const { ask, askEach } = require('./ask');

class Statement {
	constructor(stmt) {
		this.stmt = stmt;
	}

	getStatementInstance() {
		return this.stmt;
	}

	async bind(...parameters) {
		await ask(this.stmt, 'bind', parameters);
	}

	async reset() {
		await ask(this.stmt, 'reset', []);
	}

	async finalize() {
		await ask(this.stmt, 'finalize', []);
	}

	run(...parameters) {
		return ask(this.stmt, 'run', parameters, ({ lastID, changes }) => ({ stmt: this, lastID, changes }));
	}

	get(...parameters) {
		return ask(this.stmt, 'get', parameters);
	}

	all(...parameters) {
		return ask(this.stmt, 'all', parameters);
	}

	async each(...given) {
		return askEach('Statement#each', this.stmt, given);
	}
}

module.exports = Statement;
