"""What is true of this office only, whatever happens to it."""

from desk_mended import Desk, open_letters

from trioservice import Application, State, TaskService
from trioservice.testing.machine import LifecycleMachine


class OfficeMachine(LifecycleMachine):
    def make(self):
        return Application("office", Desk(name="desk"), TaskService(open_letters))

    def invariant(self, app):
        desk = app["desk"]
        if desk.state in (State.STOPPED, State.FAILED):
            assert not desk.taken, "the clerk has gone, and the desk is still taken"


TestOffice = OfficeMachine.TestCase
