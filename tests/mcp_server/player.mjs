// Plays one episode of the calculator with MCP's TypeScript SDK: node player.mjs MODULES (http URL | stdio COMMAND ...)
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [modules, way, ...rest] = process.argv.slice(2);
const require = createRequire(modules + "/");
const load = (name) => import(pathToFileURL(require.resolve("@modelcontextprotocol/sdk/client/" + name + ".js")));
const { Client } = await load("index");
const { StreamableHTTPClientTransport } = await load("streamableHttp");
const { StdioClientTransport } = await load("stdio");

const client = new Client({ name: "player", version: "1" });
await client.connect(
  way === "http"
    ? new StreamableHTTPClientTransport(new URL(rest[0]))
    : new StdioClientTransport({ command: rest[0], args: rest.slice(1) }),
);
const call = async (name, args) => await client.callTool({ name, arguments: args });

const begun = (await call("start_episode", { seed: 3 })).structuredContent;
const handle = way === "http" ? { episode: begun.episode } : {};
const question = begun.messages.at(-1).content;
let value = null;
const [first, ...others] = question.match(/\d+/g);
const operators = question.match(/times|plus|minus/g);
const sign = { times: "*", plus: "+", minus: "-" };
value = first;
for (const [index, operand] of others.entries()) {
  const expression = `${value}${sign[operators[index]]}${operand}`;
  value = (await call("calculator", { ...handle, expression })).content[0].text;
}
const wrong = await call("calculator", { ...handle, expression: "1/0" });
await call("answer", { ...handle, text: value });
const scored = (await call("score", handle)).structuredContent;
console.log(JSON.stringify({ question, value, refused: wrong.isError, ...scored }));
await client.close();
