// The face of node:sqlite, in a CommonJS module.
import sqlite = require('kithdb/node-sqlite');

const db = new sqlite.DatabaseSync(':memory:');
const value: sqlite.SQLOutputValue | undefined = db.prepare('SELECT 1 AS n').get()?.n;

// @ts-expect-error a path is needed
new sqlite.DatabaseSync();

export = value;
