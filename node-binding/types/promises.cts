// The promise face, in a CommonJS module.
import promises = require('kithdb/promises');

const opened: Promise<promises.Database> = promises.open({ filename: ':memory:' });

// @ts-expect-error the mode is a number
promises.open({ filename: ':memory:', mode: 'r' });

export = opened;
