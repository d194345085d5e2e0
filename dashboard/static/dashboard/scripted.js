// Runs before anything is drawn: pages look different where scripts run.
"use strict";
document.documentElement.classList.add("scripted");
