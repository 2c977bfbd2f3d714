package cbpnet.conformance

import cbpnet.core.FloatTensor
import cbpnet.core.JsonArray
import cbpnet.core.JsonNumber
import cbpnet.core.JsonObject
import cbpnet.core.JsonText
import cbpnet.core.LearningSession
import cbpnet.core.MethodRunner
import cbpnet.core.Prediction
import cbpnet.core.Program
import cbpnet.core.StateStore
import cbpnet.core.Tensor
import cbpnet.core.TrainingSettings
import cbpnet.core.children
import cbpnet.core.decodeState
import cbpnet.core.get
import cbpnet.core.integer
import cbpnet.core.items
import cbpnet.core.text
import cbpnet.core.readManifest
import cbpnet.executorch.ExecuTorchRunner
import java.io.File
import kotlin.math.abs
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder

/** The same bundle, photographs and random numbers: the state and the answers of the Python host. */
class LearningTest {
    @get:Rule val temporary = TemporaryFolder()

    @Test
    fun fp32StatesAndProbabilitiesAreThePythonHosts() {
        val found = teach("fp32")
        assertTrue("$found", found.state <= 1e-4 && found.probability <= 1e-4)
        assertEquals(found.answers, found.agreeing)
    }

    @Test
    fun int8AnswersAreThePythonHosts() {
        val found = teach("int8")
        // A kernel of another release may round a tie to the other int8 number.
        assertTrue("$found", found.state <= 1e-2 && found.agreeing >= 0.98 * found.answers)
    }

    /**
     * How far the two hosts are apart: the largest difference of a tensor over its largest number,
     * the largest difference of a probability, and how many answers name the same class and task.
     */
    private data class Distance(val state: Double, val probability: Double, val agreeing: Int, val answers: Int)

    private fun teach(precision: String): Distance {
        val folder = File(vectors, precision)
        val content = readJson(File(folder, "lessons.json"))
        val settings = TrainingSettings(content.integer("epochs"), content.integer("batch_size"))
        val bundle = File(folder, "bundle.pte")
        val manifest = readManifest(bundle)
        val distances = mutableListOf<Distance>()
        ExecuTorchRunner(bundle.path, threads = 1).use { runner ->
            val recorder = Recorder(runner)
            val program = Program(recorder, manifest)
            var lesson: RecordedLesson? = null
            val session = LearningSession(program, StateStore(File(temporary.root, precision))) { _, task ->
                lesson!!.random.getValue(task)
            }
            for ((number, json) in content.children("lessons").withIndex()) {
                lesson = RecordedLesson(json, folder)
                recorder.updates.clear()
                session.learn(lesson.pictures, settings, lesson.joinedTask)
                assertTrue(lesson.random.values.all { it.exhausted })
                assertEquals(lesson.steps, recorder.updates.size)
                val steps = readTensors(File(folder, "steps_$number.safetensors")).tensors
                val names = session.manifest.method("update").outputs.map { it.name.removePrefix("state.") }
                val apart = recorder.updates.flatMapIndexed { step, tensors ->
                    names.zip(tensors) { name, tensor -> apart(steps.getValue("$step/$name"), tensor as FloatTensor) }
                }
                val stateFile = File(folder, "state_$number.safetensors")
                val expected = decodeState(stateFile.readBytes(), session.manifest, stateFile.name)
                assertEquals(expected.classNames, session.knowledge.classNames)
                assertEquals(expected.lessons, session.knowledge.lessons)
                val end = expected.state.map { (name, tensor) -> apart(tensor, session.knowledge.state.getValue(name)) }
                val predictions = predict(session, folder, lesson.predictions)
                distances += distance(lesson.predictions, predictions).copy(state = (apart + end).max())
            }
            writeForPython(session, folder, "taught", lesson!!.predictions)
            forget(session, "temple", folder, lesson.predictions) // which leaves its task to another class
            session.forget("portrait") // which was the only one of its task
            writeForPython(session, folder, "forgetful", lesson.predictions)
        }
        val total = Distance(
            distances.maxOf { it.state }, distances.maxOf { it.probability },
            distances.sumOf { it.agreeing }, distances.sumOf { it.answers },
        )
        println("$precision: $total")
        return total
    }

    private fun distance(recorded: List<JsonObject>, predictions: List<Prediction>): Distance {
        var furthest = 0.0
        val agreeing = recorded.zip(predictions).count { (json, found) ->
            val expected = json.items("ranking").associate {
                val (label, probability) = (it as JsonArray).items
                (label as JsonText).value to (probability as JsonNumber).value
            }
            furthest = maxOf(furthest, found.ranking.maxOf { abs(it.probability - expected.getValue(it.label)) })
            found.best.label == expected.keys.first() && found.task == json.integer("task")
        }
        return Distance(0.0, furthest, agreeing, recorded.size)
    }

    private fun predict(session: LearningSession, folder: File, recorded: List<JsonObject>): List<Prediction> =
        recorded.map { json ->
            session.predict(listOf(PictureFile(File(folder, json.text("picture"))).decode())).single()
        }

    /** Forgets a class: the others stand to each other as before, with the same prompts. */
    private fun forget(session: LearningSession, label: String, folder: File, recorded: List<JsonObject>) {
        val before = predict(session, folder, recorded)
        session.forget(label)
        for ((old, new) in before.zip(predict(session, folder, recorded))) {
            val gone = old.ranking.single { it.label == label }
            val expected = (old.ranking - gone).associate { it.label to it.probability / (1 - gone.probability) }
            assertEquals(expected.keys, new.ranking.map { it.label }.toSet())
            for (found in new.ranking) assertEquals(expected.getValue(found.label), found.probability, 1e-4)
            assertEquals(old.task, new.task)
        }
    }

    /** Writes a state, and what this host says with it, for check_states.py. */
    private fun writeForPython(session: LearningSession, folder: File, name: String, recorded: List<JsonObject>) {
        val answers = recorded.zip(predict(session, folder, recorded)) { json, found ->
            JsonObject(
                "picture" to json["picture"],
                "label" to JsonText(found.best.label),
                "probability" to JsonNumber(found.best.probability.toString()),
            )
        }
        File(folder, "$name.safetensors").writeBytes(session.exportState())
        File(folder, "$name.json").writeText(JsonObject("answers" to JsonArray(answers)).toString())
    }

    private fun apart(expected: FloatTensor, found: FloatTensor): Double {
        assertEquals(expected.shape, found.shape)
        val largest = expected.values.maxOfOrNull { abs(it) } ?: return 0.0
        val furthest = expected.values.indices.maxOf { abs(expected.values[it] - found.values[it]) }
        return if (furthest == 0f) 0.0 else furthest / largest.toDouble()
    }

    /** Keeps what each step makes of the state. */
    private class Recorder(private val runner: MethodRunner) : MethodRunner by runner {
        val updates = mutableListOf<List<Tensor>>()

        override fun run(method: String, inputs: List<Tensor>): List<Tensor> =
            runner.run(method, inputs).also { if (method == "update") updates += it }
    }
}
