"""`agentenv check`: audits an environment and its verifier without being told what might be wrong with them.

report = await audit("calculator-v0")
render(report, Console())
sys.exit(report.exit_code)
"""

from __future__ import annotations

from agentenv.check.audit import audit
from agentenv.check.catalogue import Probe
from agentenv.check.play import Limits
from agentenv.check.report import AuditReport, Evidence, Finding, Severity, render

__all__ = ["AuditReport", "Evidence", "Finding", "Limits", "Probe", "Severity", "audit", "render"]
