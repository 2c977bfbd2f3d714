package cbpnet.core

import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

/** What was taught, undone and corrected: as if it had never been taught otherwise. */
class CorrectionsTest {
    private val session = session()
    private val chosen =
        listOf("readout.evidence", "readout.calibration", "readout.prior", "readout.scale", "unknown.threshold")
    private val whites = List(4) { Colour(240, 230, 220, it) }

    private fun session(classes: Int = 4) = LearningSession(FakeOnePassBundle(classes = classes).program(), null)

    private fun LearningSession.teach(vararg pictures: Pair<String, List<Picture>>, journal: Long? = null) =
        learn(mapOf(*pictures), TrainingSettings(batchSize = 3), journal = journal)

    private fun known(of: LearningSession = session) =
        of.knowledge.classNames to of.knowledge.state.mapValues { it.value.values.toList() }

    private fun refused(change: LearningSession.() -> Unit): String =
        assertThrows(InputException::class.java) { session.change() }.message!!

    /** The same classes with the same images and means, whatever their order. */
    private fun assertSame(expected: LearningSession, readout: List<String> = chosen) {
        val (names, state) = known()
        val (others, theirs) = known(expected)
        assertEquals(others.toSet(), names.toSet())
        for (label in names) {
            val (ours, wanted) = names.indexOf(label) to others.indexOf(label)
            assertEquals(theirs.getValue("classes.count")[wanted], state.getValue("classes.count")[ours])
            val means = state.getValue("classes.mean").chunked(3)[ours]
            val expectedMeans = theirs.getValue("classes.mean").chunked(3)[wanted]
            for (i in 0 until 3) assertEquals(label, expectedMeans[i], means[i], 1e-5f)
        }
        for (name in readout) assertEquals(name, theirs.getValue(name), state.getValue(name))
    }

    @Test
    fun undoingEveryLessonGivesWhatWasKnownBeforeIt() {
        val states = mutableListOf(known())
        session.teach("red" to reds(3)) // one class does not adapt
        states += known()
        session.teach("green" to greens(2), "blue" to blues(2)) // which carries what was known
        states += known()
        session.teach("white" to whites, "red" to reds(5).drop(3))
        val last = known()
        for (state in states.reversed()) {
            assertTrue(session.undo() is Taught)
            assertEquals(state, known())
        }
        assertEquals(0, session.knowledge.lessons)
        assertEquals("Nothing has been learnt or changed that could be undone.", refused { undo() })
        val lessons = List(3) { session.redo() as Taught }
        assertEquals(listOf(listOf("red"), listOf("green", "blue"), listOf("white", "red")), lessons.map { it.names })
        assertEquals(last, known())
        assertEquals("Nothing was undone that could be done again.", refused { redo() })
    }

    @Test
    fun aForgottenClassWasNeverTaught() {
        val other = session()
        for (one in listOf(session, other)) one.teach("red" to reds(3), "green" to greens(2))
        val before = known()
        session.teach("blue" to blues(4))
        for (one in listOf(session, other)) one.teach("white" to whites)
        session.forget("blue")
        assertEquals(listOf("red", "green", "white"), session.knowledge.classNames)
        assertSame(other)
        assertEquals(EditKind.FORGET, (session.undo() as Edit).kind)
        assertEquals(listOf("red", "green", "blue", "white"), session.knowledge.classNames)
        repeat(2) { session.undo() }
        assertEquals(before, known())
    }

    @Test
    fun aClassThatIsForgottenForGoodLeavesNoFeature() {
        val other = session()
        for (one in listOf(session, other)) {
            one.teach("red" to reds(3), "green" to greens(2))
            one.teach("blue" to blues(4), "white" to whites)
        }
        other.forget("blue")
        session.forget("blue", forGood = true)
        assertEquals(known(other), known())
        val left = session.knowledge.journal!!.events.filterIsInstance<Taught>().map { it.left.x.size }
        assertEquals(listOf(5, 4), left)
        assertTrue("cannot be undone" in refused { undo() })
        assertEquals("Nothing was undone that could be done again.", refused { redo() })
        val read = LearningSession(FakeOnePassBundle(classes = 4).program(), null)
        read.importState(session.exportState(), "s")
        for (one in listOf(session, read)) {
            one.teach("blue" to blues(9).drop(4))
            one.undo()
            assertEquals(known(other), known(one))
        }
    }

    @Test
    fun relabelledPicturesWereNeverMislabelled() {
        val other = session()
        for ((one, label) in listOf(session to "red", other to "blue")) {
            one.teach("red" to reds(3), "green" to greens(2))
            one.teach(label to blues(3))
            one.teach("white" to whites)
        }
        session.relabel(blues(3), " blue ")
        assertSame(other)
        assertTrue("already" in refused { relabel(blues(2), "blue") })
        assertTrue("1 of 2 pictures cannot" in refused { relabel(blues(3).drop(2) + blues(9).last(), "red") })
        assertTrue("\"blue\"" in refused { relabel(reds(1), "Blue") })
        assertTrue("room for 4" in refused { relabel(reds(1), "pink") })
        assertEquals(listOf("red", "green", "blue", "white"), session.knowledge.classNames)
    }

    @Test
    fun mergedClassesWereAlwaysOneAndANameIsOnlyAName() {
        val other = session()
        for (one in listOf(session, other)) one.teach("red" to reds(3), "green" to greens(2))
        for ((label, pictures) in listOf("azure" to blues(3), "blue" to blues(5).drop(3))) {
            session.teach(label to pictures)
            other.teach("blue" to pictures)
        }
        session.merge("azure", "blue")
        session.rename("red", "crimson")
        session.rename("crimson", "Red")
        session.rename("Red", "red")
        assertSame(other)
        val events = session.history.size
        session.rename("red", "red")
        assertEquals(events, session.history.size)
        assertTrue("with itself" in refused { merge("red", "red") })
        assertTrue("already" in refused { rename("red", "green") })
        assertThrows(IllegalArgumentException::class.java) { session.merge("azure", "blue") }
    }

    /** The lessons of a state of another host may have been learnt with kept pictures. */
    @Test
    fun aLessonWithKeptPicturesMovesTheirClassAsThese() {
        session.teach("red" to reds(1))
        session.teach("green" to greens(2), "blue" to blues(2))
        val journal = session.knowledge.journal!!
        val lesson = journal.events[1] as Taught
        val own = FloatTensor(floatArrayOf(1f, 2f, 3f), listOf(1, 3))
        val sums = mapOf("count" to number(2f), "before" to FloatTensor.zeros(listOf(1, 3)), "after" to own)
        val left = with(lesson.left) { Left(labels, pictures, x, adapted, drift + sums, listOf("red")) }
        val kept = with(lesson) { Taught(id, time, source, names, counts, reason, accuracy, left) }
        val changed = Journal(journal.base, journal.baseNames, listOf(journal.events[0], kept), head = 2)
        val known = fold(OnePassProgram(FakeOnePassBundle().program()), rename(changed, "red", "crimson", time = 5))
        assertEquals(listOf("crimson", "green", "blue"), known.classNames)
        val before = (journal.events[0] as Taught).left.x.row(0)
        val found = rows(known.state.getValue("classes.mean")).first()
        assertEquals(before.zip(listOf(0.5f, 1f, 1.5f), Float::plus), found.toList())
    }

    @Test
    fun aBoundedJournalSettlesTheOldestLessons() {
        val other = session()
        val lessons = listOf(
            arrayOf<Pair<String, List<Picture>>>("red" to reds(3), "green" to greens(2)),
            arrayOf<Pair<String, List<Picture>>>("blue" to blues(4)),
            arrayOf<Pair<String, List<Picture>>>("white" to whites),
            arrayOf<Pair<String, List<Picture>>>("red" to reds(7).drop(3)),
        )
        for (lesson in lessons) other.teach(*lesson)
        val limit = other.knowledge.journal!!.bytes / 2
        for (lesson in lessons) session.teach(*lesson, journal = limit)
        val journal = session.knowledge.journal!!
        assertTrue(journal.bytes <= limit && journal.settled in 1..3)
        assertSame(other, chosen - "unknown.threshold") // which the images that are left have chosen
        session.undo()
        session.forget("red")
        other.undo()
        other.forget("red")
        assertEquals(listOf("green", "blue", "white"), session.knowledge.classNames)
        assertEquals(known(other).second["classes.mean"], known().second["classes.mean"])
        while (session.knowledge.journal!!.canUndo) session.undo()
        assertTrue("cannot be undone" in refused { undo() })
    }

    @Test
    fun correctionsThatAreSettledStay() {
        session.teach("red" to reds(3), "green" to greens(2))
        session.rename("red", "rot")
        session.teach("red" to blues(3), journal = 1)
        assertEquals(listOf("rot", "green", "red"), session.knowledge.classNames)
        assertEquals(3, session.knowledge.journal!!.settled)
        session.forget("rot")
        assertEquals(listOf("green", "red"), session.knowledge.classNames)
        session.undo()
        assertEquals(listOf(3f, 2f, 3f, 0f), known().second["classes.count"])
    }

    @Test
    fun withoutAJournalClassesCanBeForgottenAndNothingElse() {
        session.teach("red" to reds(3), "green" to greens(2), journal = 0)
        session.teach("blue" to blues(3))
        val journal = session.knowledge.journal!!
        assertEquals(listOf(0L, 0L), listOf(journal.bytes, journal.limit))
        assertEquals(listOf(5, 3), session.history.map { (it as Taught).counts.sum() })
        assertFalse(journal.canUndo)
        assertTrue("cannot be undone" in refused { undo() })
        assertTrue("not in the journal" in refused { merge("red", "blue") })
        assertTrue("no lesson with them" in refused { relabel(reds(1), "blue") })
        session.forget("red")
        assertEquals(listOf("green", "blue"), session.knowledge.classNames)
        assertEquals("green", session.predict(listOf(greens(1)[0].image())).single().best.label)
    }

    @Test
    fun aBundleWithTasksSaysThatItCannot() {
        val tasks = LearningSession(FakeBundle().program(), null)
        tasks.learn(mapOf("red" to reds(1), "green" to greens(1)))
        for (change in listOf<(LearningSession) -> Unit>({ it.undo() }, { it.redo() }, { it.merge("red", "green") })) {
            val error = assertThrows(InputException::class.java) { change(tasks) }
            assertTrue("has tasks" in error.message!!)
        }
        assertEquals(emptyList<Event>(), tasks.history)
    }

    /** The images of a class score as many as they are, each without itself. */
    @Test
    fun whatIsLikeNothingKnownIsUnknown() {
        session.teach("red" to reds(1))
        val (score, threshold) = session.predict(listOf(blues(1)[0].image())).single().unlikeness!!
        assertTrue(score > 0.5f && threshold == Float.POSITIVE_INFINITY)
        session.teach("red" to reds(3).drop(1))
        val found = session.predict(listOf(reds(1)[0].image(), blues(1)[0].image())).map { it.unlikeness!! }
        assertEquals(List(2) { 3f }, found.map { it.threshold })
        assertEquals(listOf(false, true), found.map { it.isUnknown })
    }
}
