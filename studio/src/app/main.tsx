/** Starts the Studio in the page that the node serves. */

import "./styles/base.css";
import "./styles/colours.css";
import "./styles/page.css";
import "./styles/receipt.css";

import { StrictMode } from "react";
import { createRoot } from "react-dom/client";

import { takeKey } from "../shared/key";
import { App } from "./App";

const root = document.getElementById("root");
if (root === null) throw new Error("index.html has no #root to draw the page in");
takeKey();
// A key that is added to the address of the open page: what was refused without it is asked for again.
window.addEventListener("hashchange", () => {
  if (takeKey()) location.reload();
});
createRoot(root).render(
  <StrictMode>
    <App />
  </StrictMode>,
);
