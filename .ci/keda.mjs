// Holds KEDA's objects against KEDA's own schemas, which kubernetes-validate does not know.
import { readFileSync } from "node:fs";
import { parseAllDocuments } from "yaml";
import * as keda from "@kubernetes-models/keda/keda.sh/v1alpha1";

let seen = 0;
let wrong = 0;
for (const file of process.argv.slice(2)) {
  for (const document of parseAllDocuments(readFileSync(file, "utf8"))) {
    const object = document.toJSON();
    if (!String(object?.apiVersion).startsWith("keda.sh/")) continue;
    seen += 1;
    try {
      new keda[object.kind](object).validate();
    } catch (error) {
      wrong += 1;
      console.error(`${file}: ${object.kind} ${object.metadata?.name}: ${error.message}`);
    }
  }
}
console.log(`KEDA: ${seen} objects, ${wrong} wrong`);
process.exit(seen > 0 && wrong === 0 ? 0 : 1);
