// removebg_driver.cjs CLIENT PLAN: makes the calls of a JSON plan with npm's remove.bg; prints what came, by name.
const fs = require("fs");
const client = require(process.argv[2]);

(async () => {
  const outcomes = {};
  for (const [name, method, options] of JSON.parse(fs.readFileSync(process.argv[3]))) {
    try {
      outcomes[name] = await client[method](options);
    } catch (errors) {
      outcomes[name] = { errors };
    }
  }
  console.log(JSON.stringify(outcomes));
})();
