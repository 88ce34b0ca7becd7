// Set before the first paint, so it is no module; "auto" follows the system.
"use strict";
try {
  const theme = localStorage.getItem("theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Without a memory, the system decides.
}
