"""Who plays the customer: a script, or any policy that agentenv knows by name."""

from agentenv_tau2.users.contract import SimulatedUser, Stop, Utterance
from agentenv_tau2.users.modelled import BorrowedPolicy, ModelledUser
from agentenv_tau2.users.scripted import ScriptedUser

__all__ = ["BorrowedPolicy", "ModelledUser", "ScriptedUser", "SimulatedUser", "Stop", "Utterance"]
