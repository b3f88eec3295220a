// The same for `import`.
import sqlite3 = require('./index.js');

export default sqlite3;
export * from './index.js';
