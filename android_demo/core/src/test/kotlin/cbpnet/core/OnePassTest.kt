package cbpnet.core

import java.util.concurrent.CancellationException
import kotlin.math.PI
import kotlin.math.cos
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNull
import org.junit.Assert.assertSame
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

/** A bundle that learns in one pass, and its lessons. */
class OnePassTest {
    private val bundle = FakeOnePassBundle()
    private val session = LearningSession(bundle.program(), null)
    private val settings = TrainingSettings(batchSize = 3)
    private val shown = listOf(greens(1)[0].image(), reds(5)[4].image(), blues(1)[0].image())

    private fun values(name: String) = session.knowledge.state.getValue(name).values.toList()

    private fun methods() = bundle.calls.map { it.method }.filter { it != "solve" && it != "leave_one_out" }

    private fun learn(vararg pictures: Pair<String, List<Picture>>): Decision =
        session.learn(mapOf(*pictures), settings).single().decision!!

    @Test
    fun whatIsTaughtIsRecognisedInOneLessonOrMore() {
        val first = session.learn(mapOf("red" to reds(3), "green" to greens(2)), settings)
        val adapted = Decision(Reason.FIRST, accuracy = 0.5, confidence = null, passes = 5 * (3 * 2 + 1))
        assertEquals(listOf(Lesson(null, listOf("red", "green"), emptyList(), 5, adapted)), first)
        val second = session.learn(mapOf("red" to reds(1), "blue" to blues(3)), settings)
        assertEquals(listOf("blue") to listOf("red"), second.single().let { it.new to it.known })
        val found = session.predict(shown)
        assertEquals(listOf("green", "red", "blue"), found.map { it.best.label })
        assertTrue(found.all { it.task == null })
        assertEquals(listOf(4f, 2f, 3f, 0f), values("classes.count"))
        assertEquals(listOf(2, 2), listOf(session.knowledge.lessons, session.knowledge.knownTasks))
    }

    @Test
    fun aLessonThatAdaptsLooksTrainsCarriesAndLooksAgain() {
        bundle.calls.clear()
        learn("red" to reds(3), "green" to greens(2))
        val looking = List(3) { "features" } + List(2) { "observe" } // of two images, and of three features
        val epoch = listOf("gradients", "gradients", "update", "gradients", "update")
        val again = List(3) { "features" } + List(2) { "compare" } + "carry" + List(2) { "observe" }
        assertEquals(looking + "begin_task" + epoch + epoch + again, methods())

        val random = RandomStream(seed = 0, purpose = 1)
        val classes = listOf(0L, 0L, 0L, 1L, 1L)
        val steps = bundle.calls.filter { it.method == "gradients" }.map { it.labels() }
        val expected = List(2) {
            val order = random.permutation(5).map(classes::get)
            listOf(3, 2).forEach(random::uniform)
            listOf(order.take(2), listOf(order[2], -1L), order.drop(3))
        }
        assertEquals(expected.flatten(), steps)
        val rates = bundle.calls.filter { it.method == "update" }.map { it.floats("rate").single() }
        for ((step, rate) in rates.withIndex()) {
            assertEquals(0.5 + 0.25 * (1 + cos(PI * step / 4)), rate.toDouble(), 1e-6)
        }
        assertEquals(rates.sum(), values("prompts.g")[0], 1e-6f)

        val compared = bundle.calls.filter { it.method == "compare" }
        assertEquals(listOf(0.3f, 0.3f, 0.3f, 0.3f, 0.3f, 0f), compared.flatMap { it.floats("weight") })
        assertTrue(compared.all { it.labels() == listOf(-1L, -1L, -1L) })
        assertEquals(listOf(1f, 1f), listOf("lessons.count", "lessons.adapted").flatMap(::values))
        assertEquals(listOf(3f, 2f, 0f, 0f), values("classes.count"))
    }

    @Test
    fun whatWasKnownIsCarriedOverAnAdaptation() {
        learn("red" to reds(3))
        val before = values("classes.mean").take(3)
        learn("green" to greens(2), "blue" to blues(2))
        val moved = values("prompts.g").take(3)
        val after = values("classes.mean").take(3)
        for (i in before.indices) assertEquals(before[i] + moved[i], after[i], 2e-3f) // fp16's steps near 2 and 3
        assertEquals("red", session.predict(shown)[1].best.label)
    }

    @Test
    fun thePriorAndTheScaleAreTheLikeliestAndTheEvidenceIsSummed() {
        learn("red" to reds(3))
        assertEquals(listOf(-9f, -12f, -3f, -6f, -9f, -12f), values("readout.evidence"))
        assertEquals(listOf(1f, 0.25f), values("readout.prior") + values("readout.scale"))
        learn("red" to reds(1))
        assertEquals(listOf(-12f, -16f, -4f, -8f, -12f, -16f), values("readout.evidence"))
        val solved = bundle.calls.last { it.method == "solve" }
        assertEquals(listOf(1f, 0.25f), solved.floats("prior") + solved.floats("scale"))
    }

    @Test
    fun oneImageOfAClassIsNoEvidence() {
        assertNull(learn("red" to reds(1), "green" to greens(1)).accuracy)
        assertEquals(List(6) { 0f }, values("readout.evidence"))
        assertEquals(listOf(1f, 1f), values("readout.prior") + values("readout.scale"))
    }

    @Test
    fun oneClassHasNoAccuracy() {
        assertNull(learn("red" to reds(3)).accuracy)
    }

    @Test
    fun aLessonOfFewClassesBesideThoseKnownIsOutnumbered() {
        val colours = listOf(reds(2), greens(2), blues(2), reds(3), greens(3), blues(3), reds(4), greens(4), blues(4))
        val session = LearningSession(FakeOnePassBundle("auto", 0.1f, classes = 11).program(), null)
        session.learn(colours.withIndex().associate { (number, few) -> "c$number" to few }, settings)
        fun reason(vararg numbers: Int) =
            session.learn(numbers.associate { "c$it" to colours[it] }, settings).single().decision!!.reason
        assertEquals(Reason.FOREIGN, reason(0, 1)) // two beside seven others
        session.learn(mapOf("c9" to reds(5), "c10" to greens(5)), settings)
        assertEquals(Reason.OUTNUMBERED, reason(0, 1)) // two beside nine
    }

    @Test
    fun aLessonOfLessThanTheFewestClassesIsLeftAlone() {
        fun reasons(kind: String): List<Reason> {
            val session = LearningSession(FakeOnePassBundle(kind, 0.1f, fewestClasses = 3).program(), null)
            val (two, three) = mapOf("red" to reds(2), "green" to greens(2)).let { it to it + ("blue" to blues(2)) }
            val lessons = listOf(mapOf("red" to reds(2)), two, three, two, three)
            return lessons.map { session.learn(it, settings).single().decision!!.reason }
        }
        val few = Reason.FEW_CLASSES
        assertEquals(listOf(Reason.ONE_CLASS, few, Reason.FIRST, few, Reason.FOREIGN), reasons("auto"))
        assertEquals(listOf(Reason.ONE_CLASS, Reason.FIRST) + List(3) { Reason.ADAPTED_BEFORE }, reasons("first"))
        assertEquals(listOf(Reason.ONE_CLASS) + List(4) { Reason.ALWAYS }, reasons("always"))
    }

    @Test
    fun everyReason() {
        fun reasons(kind: String, confidence: Float?, accuracy: Float = 0.5f): List<Reason> {
            val session = LearningSession(FakeOnePassBundle(kind, confidence, accuracy).program(), null)
            val lessons = listOf(
                mapOf("red" to reds(2)), mapOf("red" to reds(2), "green" to greens(2)),
                mapOf("blue" to blues(2), "green" to greens(2)),
            )
            return lessons.map { session.learn(it, settings).single().decision!!.reason }
        }
        assertEquals(listOf(Reason.ONE_CLASS, Reason.FIRST, Reason.FOREIGN), reasons("auto", 0.1f))
        assertEquals(listOf(Reason.ONE_CLASS, Reason.FIRST, Reason.FAMILIAR), reasons("auto", 0.9f))
        assertEquals(Reason.FOREIGN, reasons("auto", null, accuracy = 0.5f).last())
        assertEquals(Reason.FAMILIAR, reasons("auto", null, accuracy = 1f).last())
        assertEquals(listOf(Reason.ONE_CLASS, Reason.FIRST, Reason.ADAPTED_BEFORE), reasons("first", 0.1f))
        assertEquals(listOf(Reason.ONE_CLASS, Reason.ALWAYS, Reason.ALWAYS), reasons("always", 0.9f))
        assertEquals(List(3) { Reason.NEVER }, reasons("never", 0.1f))
    }

    @Test
    fun everyTenthPictureIsAskedAboutUnderAPromptOfZeros() {
        learn("red" to reds(2), "green" to greens(2))
        bundle.calls.clear()
        val decision = learn("blue" to blues(11), "red" to reds(1))
        assertEquals(0.1, decision.confidence!!, 1e-6)
        val asked = bundle.calls.filter { it.method == "features" && it.floats("state.prompts.g").all { g -> g == 0f } }
        assertEquals(1, asked.size) // the red one and the tenth blue one
        assertEquals(listOf(0, 10), askedAbout(List(20) { 0 }))
        assertEquals(listOf(11, 9), askedAbout(List(11) { 1 } + 0))
    }

    @Test
    fun progressGrowsWhenALessonAdapts() {
        val told = mutableListOf<Pair<Int, Int>>()
        val forecasts = mutableListOf<Forecast>()
        val pictures = mapOf("red" to reds(3), "green" to greens(2))
        session.learn(pictures, settings, progress = { done, total -> told += done to total }, decided = forecasts::add)
        assertEquals(listOf(2, 4, 5, 8, 10, 13, 15, 17, 19, 20), told.map { it.first })
        assertEquals(listOf(5, 5, 5) + List(7) { 20 }, told.map { it.second })
        val forecast = forecasts.single()
        assertEquals(listOf(5, 15), listOf(forecast.images, forecast.looks))
        assertTrue(forecast.seconds > 0)
        told.clear()
        session.learn(mapOf("blue" to blues(3)), settings, progress = { done, total -> told += done to total })
        assertEquals(listOf(2 to 3, 3 to 3), told)
        assertTrue(pictures.values.flatten().all { it.decoded == 1 })
    }

    @Test
    fun epochsAreTheBundlesUnlessTheyAreSaid() {
        fun updates(epochs: Int?): Int {
            val bundle = FakeOnePassBundle()
            val pictures = mapOf("red" to reds(2), "green" to greens(2))
            LearningSession(bundle.program(), null).learn(pictures, TrainingSettings(epochs))
            return bundle.calls.count { it.method == "update" }
        }
        assertEquals(listOf(2, 5), listOf(updates(null), updates(5)))
    }

    @Test
    fun aClassIsForgottenAndTheReadoutSolvedWithoutIt() {
        learn("red" to reds(2), "green" to greens(3), "blue" to blues(4))
        bundle.calls.clear()
        session.forget("green")
        assertEquals(listOf("red", "blue"), session.knowledge.classNames)
        assertEquals(listOf(2f, 4f, 0f, 0f), values("classes.count"))
        val solved = bundle.calls.last()
        assertEquals("solve" to listOf(2f, 4f, 0f, 0f), solved.method to solved.floats("state.classes.count"))
        assertEquals(listOf("red", "blue"), session.predict(shown.drop(1)).map { it.best.label })
        for (label in listOf("red", "blue")) session.forget(label)
        assertThrows(InputException::class.java) { session.predict(shown) }
        assertThrows(IllegalArgumentException::class.java) { session.forget("green") }
        learn("green" to greens(2))
        assertEquals("green", session.predict(shown)[0].best.label)
    }

    @Test
    fun aCancelledLessonLeavesEverythingAsItWas() {
        learn("red" to reds(2))
        val before = session.knowledge
        for (lastCall in 0..60 step 4) {
            var asked = 0
            assertThrows(CancellationException::class.java) {
                session.learn(
                    mapOf("green" to greens(5), "blue" to blues(2)), settings, cancelled = { asked++ == lastCall },
                )
            }
        }
        assertSame(before, session.knowledge)
    }

    @Test
    fun aStateGoesToAnotherPhoneAndGrows() {
        learn("red" to reds(2), "green" to greens(2))
        val bytes = session.exportState()
        val other = LearningSession(FakeOnePassBundle(classes = 9).program(), null)
        other.importState(bytes, "from a friend")
        assertEquals("green", other.predict(shown)[0].best.label)
        assertEquals(9, other.knowledge.state.getValue("readout.bias").values.size)
        val tooLarge = assertThrows(InputException::class.java) { session.importState(other.exportState(), "larger") }
        assertEquals(
            "The state larger has room for 9 classes, more than the bundle's 4 classes. Use a bundle with at least " +
                "as much room.",
            tooLarge.message,
        )
    }

    @Test
    fun aStateOfTheOtherLearnerIsRefused() {
        learn("red" to reds(2))
        val tasks = LearningSession(FakeBundle().program(), null)
        fun refused(session: LearningSession, bytes: ByteArray) =
            assertThrows(InputException::class.java) { session.importState(bytes, "it") }.message!!
        assertTrue("is one of CBPNet's tasks" in refused(session, tasks.exportState()))
        assertTrue("is one of a learner in one pass" in refused(tasks, session.exportState()))
    }

    @Test
    fun aStateWithKeptPicturesIsRefused() {
        learn("red" to reds(2))
        val file = Safetensors.parse(session.exportState())
        val info = parseJson(file.metadata.getValue("info"))
        val kept = info.child("progress").entries + ("kept" to JsonObject("limit" to JsonNumber(5)))
        val bytes = withInfo(JsonObject(info.entries + ("progress" to JsonObject(kept))), file)
        val error = assertThrows(InputException::class.java) { session.importState(bytes, "it") }
        assertEquals(
            "The state it was saved with kept pictures, which the app cannot take over. Use one that was learnt " +
                "without them (--keep 0).",
            error.message,
        )
    }

    @Test
    fun contradictionsOfAStateAreDamage() {
        learn("red" to reds(2))
        val known = session.knowledge
        for (counts in listOf(listOf(0f, 2f, 0f, 0f), listOf(2f, 1f, 0f, 0f), listOf(0f, 0f, 0f, 0f))) {
            val state = known.state + ("classes.count" to FloatTensor(counts.toFloatArray(), listOf(4)))
            val bytes = encodeState(Knowledge(state, known.classNames, 1), bundle.manifest)
            assertThrows(DamagedStateException::class.java) { session.importState(bytes, "it") }
        }
    }

    @Test
    fun contradictionsOfAManifestAreRefused() {
        val json = bundle.manifestJson
        fun refused(change: Pair<String, Json>) = assertThrows(InputException::class.java) {
            Manifest.parse(JsonObject(json.entries + change).toString().toByteArray())
        }.message!!
        for (method in listOf("features", "carry")) {
            assertTrue("$method is missing" in refused("methods" to JsonObject(json.child("methods").entries - method)))
        }
        val state = json.items("state")
        assertTrue("lessons.adapted of 1 numbers" in refused("state" to JsonArray(state.dropLast(1))))
        assertTrue("prompts.g otherwise" in refused("state" to JsonArray(state.drop(1))))
        assertTrue("not in \"adaptation\"" in refused("adaptation" to JsonArray(json.items("adaptation").take(1))))
        val config = json.child("config")
        fun adaptation(key: String, value: Json): Pair<String, Json> {
            val changed = JsonObject(config.child("adaptation").entries + (key to value))
            return "config" to JsonObject(config.entries + ("adaptation" to changed))
        }
        assertTrue("\"sometimes\" is not known" in refused(adaptation("kind", JsonText("sometimes"))))
        assertTrue("not possible" in refused(adaptation("epochs", JsonNumber(0))))
        val without = JsonArray(state.filterIndexed { place, _ -> place != 6 })
        assertTrue("readout.evidence of 3 x 2 numbers" in refused("state" to without))
    }
}
